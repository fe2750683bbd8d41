"""Pairs of images to be matched, from three sources."""

from __future__ import annotations

import csv
import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.errors import EvaluationError
from gps_denied_inference.core.evaluation import GroundMotion, PositionedImage, read_positions
from gps_denied_inference.core.flight import (
    MapPart,
    NadirCamera,
    load_orthophoto,
    locate_orthophoto,
    view_pairs,
)
from gps_denied_inference.core.optional import require

__all__ = ["Flight", "MatchPair", "pairs_of_frames", "pairs_of_orthophoto", "pairs_of_table", "read_rgb"]

_HOMOGRAPHY = tuple(f"h{row}{column}" for row in range(3) for column in range(3))
_EARTH_RADIUS_M = 6_371_009.0
_SAME_LINE_DEG = 45.0


@dataclass(frozen=True, slots=True)
class Flight:
    """What is known of a pair from GPS and compass.

    Attributes:
        motion: from the first camera to the second.
        yaw_deg: of the first camera.
        meters_per_pixel: of the first image.
    """

    motion: GroundMotion
    yaw_deg: float
    meters_per_pixel: float


@dataclass(frozen=True, slots=True, eq=False)
class MatchPair:
    """Two images and what is known of them.

    Attributes:
        first_name, second_name: of the images: equal names are equal images.
        condition: what sets them apart.
        first_rgb, second_rgb: (H, W, 3).
        second_from_first: the true homography, (3, 3); None when unknown.
        flight: None when unknown.
    """

    first_name: str
    second_name: str
    condition: str
    first_rgb: NDArray[np.uint8]
    second_rgb: NDArray[np.uint8]
    second_from_first: NDArray[np.float64] | None = None
    flight: Flight | None = None


def read_rgb(path: Path, width_px: int = 0) -> tuple[NDArray[np.uint8], float]:
    """Read a picture, smaller when it is wider than asked for.

    Returns:
        (H, W, 3); and its size as a share of the file's.

    Raises:
        EvaluationError: it is missing or no picture.
    """
    cv2 = require("cv2", install="pip install 'opencv-python-headless<5'", purpose="reading pictures")
    try:
        encoded = np.fromfile(path, np.uint8)
    except OSError as error:
        raise EvaluationError(f"{path} cannot be read ({error.strerror}); correct its name") from error
    image_bgr = cv2.imdecode(encoded, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) if encoded.size else None
    if image_bgr is None:
        raise EvaluationError(f"{path} is not a picture that OpenCV reads; expected PNG, JPEG or TIFF")
    scale = 1.0
    if width_px and image_bgr.shape[1] > width_px:
        scale = width_px / image_bgr.shape[1]
        size = (width_px, round(image_bgr.shape[0] * scale))
        image_bgr = cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image_bgr[:, :, ::-1]), scale


def pairs_of_table(table: Path) -> list[MatchPair]:
    """Read pairs from CSV: `first`, `second` (files beside the table), and, where known, `h00` … `h22`, `condition`.

    Raises:
        EvaluationError: the table, a picture or a homography cannot be read.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EvaluationError(f"{table} cannot be read as CSV ({error}); write UTF-8 with a header line") from error
    if not rows or not {"first", "second"} <= set(rows[0]):
        raise EvaluationError(f"{table} has no pairs; expected a header and rows with first and second, and h00 … h22")
    pairs = []
    for line, row in enumerate(rows, 2):
        first, second = (str(row[side]) for side in ("first", "second"))
        first_rgb, second_rgb = (read_rgb(table.parent / name)[0] for name in (first, second))
        truth = _homography(row, f"{table}, line {line}")
        pairs.append(MatchPair(first, second, row.get("condition") or "all", first_rgb, second_rgb, truth))
    return pairs


def _homography(row: dict[str, str], where: str) -> NDArray[np.float64] | None:
    texts = [(row.get(name) or "").strip() for name in _HOMOGRAPHY]
    if not any(texts):
        return None
    try:
        matrix = np.array([float(text) for text in texts]).reshape(3, 3)
    except ValueError as error:
        raise EvaluationError(f"{where}: h00 … h22 are {texts}; expected nine numbers, or none") from error
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-12:
        raise EvaluationError(f"{where}: h00 … h22 are no homography that can be turned round; correct them")
    return matrix


def pairs_of_orthophoto(
    path: Path | None, meters_per_pixel: float, *, height_m: float, per_condition: int, part: MapPart, seed: int
) -> tuple[list[MatchPair], str]:
    """Fly a virtual camera of 640 by 480 pixels over an orthophoto.

    Args:
        path: of the picture; that of the package `deepforest`, when None.
        meters_per_pixel: of the picture.

    Returns:
        the pairs; and the SHA-256 of the picture.

    Raises:
        ReplayError: the picture is missing or none.
        EvaluationError: it is too small.
    """
    path = locate_orthophoto() if path is None else path
    orthophoto = load_orthophoto(path, meters_per_pixel)
    views = view_pairs(
        orthophoto,
        NadirCamera(640, 480),
        height_m=height_m,
        pairs_per_condition=per_condition,
        part=part,
        seed=seed,
    )
    pairs = [
        MatchPair(
            f"{view.name} first",
            f"{view.name} second",
            view.condition,
            view.first_rgb,
            view.second_rgb,
            view.second_from_first,
        )
        for view in views
    ]
    return pairs, hashlib.sha256(path.read_bytes()).hexdigest()


def pairs_of_frames(folder: Path, table: Path | None, meters_per_pixel: float | None, width_px: int) -> list[MatchPair]:
    """Pair the frames of a flight: neighbours in time, and neighbours on other lines.

    A line ends where the course changes by more than 45 degrees. Each frame is paired with the next one of its line,
    and with the nearest frame of each other line that is not farther than half a frame's width.

    Args:
        folder, table: as `read_positions` takes them, in the order of the flight.
        meters_per_pixel: of the files, where the table does not say.
        width_px: frames are made smaller to this width.

    Raises:
        EvaluationError: a position, a heading or the scale is missing, or no two frames overlap.
    """
    frames = read_positions(folder, table)
    for frame in frames:
        if frame.yaw_deg is None or (frame.meters_per_pixel or meters_per_pixel) is None:
            what = "heading (yaw_deg)" if frame.yaw_deg is None else "scale (meters_per_pixel, or --meters-per-pixel)"
            raise EvaluationError(f"the {what} of {frame.path.name} is unknown; pairs of frames need it")
    places = _places_m(frames)
    line = _lines(places)
    images = {frame.path.name: read_rgb(frame.path, width_px) for frame in frames}
    widths_m = [
        images[frame.path.name][0].shape[1]
        / images[frame.path.name][1]
        * (frame.meters_per_pixel or meters_per_pixel or 0.0)
        for frame in frames
    ]
    pairs = []
    for first, second in _pairs_nearby(places, line, widths_m):
        one, other = frames[first], frames[second]
        image_rgb, scale = images[one.path.name]
        turn = ((other.yaw_deg or 0.0) - (one.yaw_deg or 0.0) + 180.0) % 360.0 - 180.0
        motion = GroundMotion(places[second][0] - places[first][0], places[second][1] - places[first][1], turn)
        meters = (one.meters_per_pixel or meters_per_pixel or 0.0) / scale
        condition = "same line" if line[first] == line[second] else "other line"
        pairs.append(
            MatchPair(
                one.path.name,
                other.path.name,
                condition,
                image_rgb,
                images[other.path.name][0],
                flight=Flight(motion, one.yaw_deg or 0.0, meters),
            )
        )
    if not pairs:
        raise EvaluationError(f"no two frames of {folder} are near enough to overlap; check positions and scale")
    return sorted(pairs, key=lambda pair: pair.condition, reverse=True)


def _lines(places: list[tuple[float, float]]) -> list[int]:
    """Number of each frame's line: that of the frame before, unless the course turned to get to it."""
    lines = [0]
    course: float | None = None
    for before, after in itertools.pairwise(places):
        step = math.degrees(math.atan2(after[0] - before[0], after[1] - before[1]))
        has_turned = course is not None and abs((step - course + 180.0) % 360.0 - 180.0) > _SAME_LINE_DEG
        lines.append(lines[-1] + has_turned)
        # The step that led to a new line is not its course.
        course = None if has_turned else step
    return lines


def _pairs_nearby(
    places: list[tuple[float, float]], line: list[int], widths_m: list[float]
) -> Iterator[tuple[int, int]]:
    paired: set[frozenset[int]] = set()
    for first, width_m in enumerate(widths_m):
        nearest: dict[int, int] = {}
        for second in range(len(places)):
            if line[second] == line[first]:
                continue
            rival = nearest.get(line[second])
            if rival is None or math.dist(places[first], places[second]) < math.dist(places[first], places[rival]):
                nearest[line[second]] = second
        candidates: Iterable[int] = nearest.values()
        if first + 1 < len(places) and line[first + 1] == line[first]:
            candidates = (first + 1, *candidates)
        for second in candidates:
            key = frozenset((first, second))
            if math.dist(places[first], places[second]) <= width_m / 2 and key not in paired:
                paired.add(key)
                yield first, second


def _places_m(frames: list[PositionedImage]) -> list[tuple[float, float]]:
    """Metres east and north of the first frame; over a flight's extent the Earth is flat."""
    if any(frame.x_m is not None for frame in frames):
        return [(frame.x_m or 0.0, frame.y_m or 0.0) for frame in frames]
    origin_latitude, origin_longitude = frames[0].latitude_deg or 0.0, frames[0].longitude_deg or 0.0
    return [
        (
            _EARTH_RADIUS_M
            * math.radians((frame.longitude_deg or 0.0) - origin_longitude)
            * math.cos(math.radians(origin_latitude)),
            _EARTH_RADIUS_M * math.radians((frame.latitude_deg or 0.0) - origin_latitude),
        )
        for frame in frames
    ]
