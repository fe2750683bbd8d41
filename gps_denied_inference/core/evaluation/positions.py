"""Where images were taken: from a CSV file, or from what the camera wrote into them."""

from __future__ import annotations

import csv
import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gps_denied_inference.core.errors import EvaluationError
from gps_denied_inference.core.optional import require

__all__ = ["PositionedImage", "read_positions"]

_PICTURES = {".jpg", ".jpeg", ".png", ".tif", ".tiff"}
_YAW = ("yaw_deg", "gimbal_yaw", "flight_yaw")
_HEIGHT = ("height_m", "rel_alt")
_RASTERIO = "pip install rasterio==1.4.4"


@dataclass(frozen=True, slots=True)
class PositionedImage:
    """A picture file and what is known of the camera that took it.

    Attributes:
        path: of the file.
        latitude_deg, longitude_deg: WGS 84; None when `x_m` and `y_m` are given.
        x_m, y_m: in the map's own coordinates; None when latitude and longitude are given.
        yaw_deg: direction of the top of the picture, clockwise from north; None when unknown.
        height_m: above the ground; None when unknown.
        meters_per_pixel: on the ground; None when unknown.
    """

    path: Path
    latitude_deg: float | None = None
    longitude_deg: float | None = None
    x_m: float | None = None
    y_m: float | None = None
    yaw_deg: float | None = None
    height_m: float | None = None
    meters_per_pixel: float | None = None


def read_positions(folder: Path, table: Path | None = None) -> list[PositionedImage]:
    """Read the positions of a folder's pictures, in the order of the table or of their names.

    The table is CSV with a header: `file`; `lat` and `lon` (degrees), or `x_m` and `y_m` (the map's coordinates);
    and, where known, `yaw_deg` (or `gimbal_yaw`, `flight_yaw`), `height_m` (or `rel_alt`), `meters_per_pixel`. Without
    a table, EXIF's position and the yaw and height that DJI cameras add are read.

    Args:
        folder: of the pictures.
        table: `positions.csv` in the folder, when None and it exists.

    Raises:
        EvaluationError: there are no pictures, or a position is missing or no number.
        RuntimeNotAvailableError: EXIF is to be read, and rasterio is not installed.
    """
    if not folder.is_dir():
        raise EvaluationError(f"{folder} is no folder; give one with pictures and their positions")
    if table is None and (folder / "positions.csv").is_file():
        table = folder / "positions.csv"
    if table is not None:
        return _from_table(folder, table)
    pictures = sorted(path for path in folder.iterdir() if path.suffix.lower() in _PICTURES)
    if not pictures:
        raise EvaluationError(f"{folder} holds no pictures ({', '.join(sorted(_PICTURES))}); give another folder")
    return [_from_exif(path) for path in pictures]


def _from_table(folder: Path, table: Path) -> list[PositionedImage]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EvaluationError(f"{table} cannot be read as CSV ({error}); write UTF-8 with a header line") from error
    names = set(rows[0]) if rows else set()
    is_projected = {"x_m", "y_m"} <= names
    if "file" not in names or not (is_projected or {"lat", "lon"} <= names):
        raise EvaluationError(
            f"{table} has the columns {', '.join(sorted(str(name) for name in names)) or 'none'}; expected a header "
            "and rows with file, and lat and lon, or x_m and y_m"
        )
    images = []
    for line, row in enumerate(rows, 2):
        path = folder / str(row["file"])
        if not path.is_file():
            raise EvaluationError(f"{table}, line {line}: there is no picture {path}; correct the column 'file'")
        numbers = {
            name: _number(row, columns, f"{table}, line {line}", is_needed=is_needed)
            for name, columns, is_needed in (
                ("latitude_deg", ("lat",), not is_projected),
                ("longitude_deg", ("lon",), not is_projected),
                ("x_m", ("x_m",), is_projected),
                ("y_m", ("y_m",), is_projected),
                ("yaw_deg", _YAW, False),
                ("height_m", _HEIGHT, False),
                ("meters_per_pixel", ("meters_per_pixel",), False),
            )
        }
        if is_projected:
            numbers["latitude_deg"] = numbers["longitude_deg"] = None
        images.append(PositionedImage(path, **numbers))
    return images


def _number(row: Mapping[str, str | None], columns: tuple[str, ...], where: str, *, is_needed: bool) -> float | None:
    for column in columns:
        text = (row.get(column) or "").strip()
        if not text:
            continue
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise EvaluationError(f"{where}: '{column}' is {text!r}; expected a number")
        return value
    if is_needed:
        raise EvaluationError(f"{where}: '{columns[0]}' is empty; expected a number")
    return None


def _from_exif(path: Path) -> PositionedImage:
    rasterio = require("rasterio", install=_RASTERIO, purpose="reading positions from pictures")
    errors = require("rasterio.errors", install=_RASTERIO, purpose="reading positions from pictures")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", errors.NotGeoreferencedWarning)
            with rasterio.open(path) as picture:
                tags: Mapping[str, str] = picture.tags()
                xmp = "".join(picture.tags(ns="xml:XMP").values())
    except errors.RasterioError as error:
        raise EvaluationError(f"{path} cannot be read as a picture: {error}") from error
    latitude, longitude = (
        _degrees(tags.get(f"EXIF_GPS{axis}", ""), tags.get(f"EXIF_GPS{axis}Ref", ""))
        for axis in ("Latitude", "Longitude")
    )
    if latitude is None or longitude is None:
        raise EvaluationError(
            f"{path} has no position in EXIF; put a positions.csv with file, lat and lon beside it, or name one with "
            "--positions"
        )
    yaw = _xmp_number(xmp, "GimbalYawDegree")
    return PositionedImage(
        path,
        latitude_deg=latitude,
        longitude_deg=longitude,
        yaw_deg=_xmp_number(xmp, "FlightYawDegree") if yaw is None else yaw,
        height_m=_xmp_number(xmp, "RelativeAltitude"),
    )


def _degrees(text: str, reference: str) -> float | None:
    """`(46) (50) (33.9)` and `N` to degrees; None when it is not of this form."""
    parts = re.findall(r"\(([-+0-9.eE]+)\)", text)
    if len(parts) != 3 or reference not in ("N", "S", "E", "W"):
        return None
    degrees, minutes, seconds = (float(part) for part in parts)
    value = degrees + minutes / 60 + seconds / 3600
    return -value if reference in ("S", "W") else value


def _xmp_number(xmp: str, name: str) -> float | None:
    match = re.search(rf"drone-dji:{name}(?:=\"|>)\s*([-+]?[0-9.]+)", xmp)
    return float(match[1]) if match else None
