"""Tiles in a folder, and where they lie: a table, a pyramid of web map tiles, or pictures that are georeferenced."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

from gps_denied_inference.core.errors import EvaluationError
from gps_denied_inference.core.evaluation.positions import PositionedImage, read_positions
from gps_denied_inference.core.optional import require

__all__ = ["read_tiles"]

_PICTURES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"}
_INSTALL = "pip install rasterio==1.4.4"
_EQUATOR_M = 2 * math.pi * 6_378_137.0  # of the sphere that web maps are drawn on


def read_tiles(folder: Path) -> list[PositionedImage]:
    """Find the tiles of a folder and their centres.

    In this order: `positions.csv`, as `read_positions` takes it; `ZOOM/X/Y.png` (or jpg, webp) of web maps, whose rows
    count from the north, the deepest zoom level alone; pictures that are georeferenced, in themselves or by a world
    file; pictures with a position in EXIF.

    Raises:
        EvaluationError: there are no tiles, or the place of one is unknown.
        RuntimeNotAvailableError: rasterio is needed, and not installed.
    """
    if not folder.is_dir():
        raise EvaluationError(f"{folder} is no folder; give one with tiles")
    if (folder / "positions.csv").is_file():
        return read_positions(folder)
    levels = sorted(int(level.name) for level in folder.iterdir() if level.is_dir() and level.name.isdigit())
    if levels:
        return _web_map_tiles(folder, levels[-1])
    pictures = sorted(path for path in folder.iterdir() if path.suffix.lower() in _PICTURES)
    placed = [_georeferenced(path) for path in pictures]
    if placed and all(image is not None for image in placed):
        return [image for image in placed if image is not None]
    return read_positions(folder)


def _web_map_tiles(folder: Path, zoom: int) -> list[PositionedImage]:
    tiles = []
    for path in sorted(folder.glob(f"{zoom}/*/*")):
        if path.suffix.lower() not in _PICTURES or not (path.stem.isdigit() and path.parent.name.isdigit()):
            continue
        column, row = int(path.parent.name) + 0.5, int(path.stem) + 0.5
        latitude = math.atan(math.sinh(math.pi * (1 - 2 * row / 2**zoom)))
        side_px = _side_px(path)
        tiles.append(
            PositionedImage(
                path,
                latitude_deg=math.degrees(latitude),
                longitude_deg=360.0 * column / 2**zoom - 180.0,
                yaw_deg=0.0,
                meters_per_pixel=_EQUATOR_M * math.cos(latitude) / 2**zoom / side_px,
            )
        )
    if not tiles:
        raise EvaluationError(f"{folder / str(zoom)} holds no tiles X/Y.png; give the folder above the zoom levels")
    return tiles


def _side_px(path: Path) -> int:
    with _opened(path) as picture:
        return int(picture.width)


def _georeferenced(path: Path) -> PositionedImage | None:
    """The tile's centre; None when the picture says nothing of its place."""
    warp = require("rasterio.warp", install=_INSTALL, purpose="reading the places of tiles")
    with _opened(path) as picture:
        if picture.transform.is_identity:
            return None
        x, y = picture.transform @ (picture.width / 2, picture.height / 2)
        if picture.crs is None:
            return PositionedImage(path, x_m=x, y_m=y, yaw_deg=0.0, meters_per_pixel=abs(picture.transform.a))
        (longitude,), (latitude,) = warp.transform(picture.crs, "EPSG:4326", [x], [y])
        meters = None if picture.crs.is_geographic else abs(picture.transform.a)
        return PositionedImage(
            path, latitude_deg=latitude, longitude_deg=longitude, yaw_deg=0.0, meters_per_pixel=meters
        )


def _opened(path: Path) -> Any:
    rasterio = require("rasterio", install=_INSTALL, purpose="reading the places of tiles")
    errors = require("rasterio.errors", install=_INSTALL, purpose="reading the places of tiles")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", errors.NotGeoreferencedWarning)
            return rasterio.open(path)
    except errors.RasterioError as error:
        raise EvaluationError(f"{path} cannot be read as a picture: {error}") from error
