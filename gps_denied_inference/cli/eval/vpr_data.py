"""Tiles of a map and queries whose places are known."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.cli.eval.match_data import read_rgb
from gps_denied_inference.core.errors import EvaluationError
from gps_denied_inference.core.evaluation import PositionedImage, read_positions, read_tiles
from gps_denied_inference.core.flight import (
    CONDITIONS,
    CameraPose,
    GeoreferencedMap,
    MapPart,
    NadirCamera,
    Orthophoto,
    Season,
    ground_patch,
    part_span_m,
    take_view,
)

__all__ = [
    "PlaceQuery",
    "PlaceTile",
    "flown_queries",
    "map_tiles",
    "place_on",
    "queries_of_folder",
    "query_patch",
    "tiles_of_folder",
]

TILE_PX = 320
"""Side of tiles and patches: what most networks take, or more."""

_EARTH_RADIUS_M = 6_371_009.0
_EMPTY = 250  # of 255: a pixel as bright in all colours lies outside the survey
_MOST_EMPTY = 0.05
_CAMERA = NadirCamera(640, 480)

Place = Callable[[PositionedImage], tuple[float, float]]


@dataclass(frozen=True, slots=True, eq=False)
class PlaceTile:
    """A tile and its place, as it is asked for."""

    x_m: float
    y_m: float
    heading_deg: float
    render: Callable[[], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True, eq=False)
class PlaceQuery:
    """A query picture and the truth of it.

    Attributes:
        load: reads (H, W, 3).
        x_m, y_m: where it was taken, map frame.
        yaw_deg: direction of its top; 0 when unknown: it is taken as north-up.
        meters_per_pixel: on the ground; None when unknown: its shorter side is taken as a tile's.
    """

    load: Callable[[], NDArray[np.uint8]]
    x_m: float
    y_m: float
    yaw_deg: float
    meters_per_pixel: float | None


def query_patch(query: PlaceQuery, *, side_m: float, yaw_error_deg: float, scale: float) -> NDArray[np.uint8]:
    """Return what the query shows of the ground as a tile would, with a wrong compass and a wrong height.

    Args:
        side_m: of a tile.
        yaw_error_deg: added to the query's heading.
        scale: factor of what its height is believed to be.
    """
    image_rgb = query.load()
    meters_per_pixel = query.meters_per_pixel
    if meters_per_pixel is None:
        meters_per_pixel = side_m / min(image_rgb.shape[:2])
    return ground_patch(
        image_rgb,
        meters_per_pixel=meters_per_pixel * scale,
        yaw_deg=query.yaw_deg + yaw_error_deg,
        side_m=side_m,
        side_px=TILE_PX,
    )


def map_tiles(orthophoto: Orthophoto, *, side_m: float, stride_m: float, headings: int) -> Iterator[PlaceTile]:
    """Lay tiles over a map; those that show what was not surveyed (white or transparent) are left out.

    Raises:
        EvaluationError: the map is smaller than a tile.
    """
    camera = NadirCamera(TILE_PX, TILE_PX)
    height_m = side_m * camera.focal_px / TILE_PX
    reach_m = side_m / math.sqrt(2.0) if headings > 1 else side_m / 2
    x_min, x_max, y_min, y_max = part_span_m(orthophoto, MapPart.ALL, reach_m)
    is_empty = (orthophoto.image_rgb >= _EMPTY).all(axis=2) | (orthophoto.image_rgb == 0).all(axis=2)
    half = round(side_m / 2 / orthophoto.meters_per_pixel)
    for y in np.linspace(y_min, y_max, max(1, round((y_max - y_min) / stride_m)) + 1):
        for x in np.linspace(x_min, x_max, max(1, round((x_max - x_min) / stride_m)) + 1):
            column = round(x / orthophoto.meters_per_pixel)
            row = round(orthophoto.image_rgb.shape[0] - y / orthophoto.meters_per_pixel)
            shown = is_empty[max(0, row - half) : row + half, max(0, column - half) : column + half]
            if shown.mean() > _MOST_EMPTY:
                continue
            for index in range(headings):
                pose = CameraPose(0, float(x), float(y), height_m, 360.0 * index / headings)
                yield PlaceTile(pose.x_m, pose.y_m, pose.heading_deg, partial(camera.render, orthophoto, pose))


def flown_queries(orthophoto: Orthophoto, *, count: int, height_m: float, part: MapPart, seed: int) -> list[PlaceQuery]:
    """Take queries with a virtual camera: any heading; summer, autumn and winter in turn; dull and bright light.

    Raises:
        EvaluationError: the orthophoto is too small.
    """
    width_m, depth_m = _CAMERA.footprint_m(height_m)
    x_min, x_max, y_min, y_max = part_span_m(orthophoto, part, math.hypot(width_m, depth_m) / 2)
    lights = CONDITIONS[0].light
    queries = []
    for index in range(count):
        generator = np.random.default_rng([seed, index])
        pose = CameraPose(
            0,
            float(generator.uniform(x_min, x_max)),
            float(generator.uniform(y_min, y_max)),
            height_m,
            float(generator.uniform(0, 360)),
            float(generator.uniform(-2, 2)),
            float(generator.uniform(-2, 2)),
        )
        season, light = list(Season)[index % 3], lights[index % len(lights)]
        image_rgb = take_view(orthophoto, _CAMERA, pose, season, light, generator)
        queries.append(
            PlaceQuery(partial(np.asarray, image_rgb), pose.x_m, pose.y_m, pose.heading_deg, width_m / _CAMERA.width_px)
        )
    return queries


def queries_of_folder(
    folder: Path, table: Path | None, place: Place, *, meters_per_pixel: float | None, fov_deg: float | None
) -> list[PlaceQuery]:
    """Read queries and their places.

    Raises:
        EvaluationError: a position is missing, or cannot be placed on the map.
    """
    queries = []
    for image in read_positions(folder, table):
        x_m, y_m = place(image)
        scale = image.meters_per_pixel or meters_per_pixel
        if scale is None and fov_deg is not None:
            if image.height_m is None:
                raise EvaluationError(
                    f"the height of {image.path.name} is unknown, which --fov-deg needs; add height_m to the table, or "
                    "give --meters-per-pixel"
                )
            width_px = read_rgb(image.path)[0].shape[1]
            scale = 2 * image.height_m * math.tan(math.radians(fov_deg) / 2) / width_px
        queries.append(
            PlaceQuery(
                partial(_picture, image.path),
                x_m,
                y_m,
                image.yaw_deg or 0.0,
                scale,
            )
        )
    return queries


def tiles_of_folder(folder: Path) -> tuple[list[PlaceTile], Place, float | None, str]:
    """Read tiles whose centres are known, each turned north-up where its heading is known.

    Returns:
        the tiles; how positions come into their frame; their shorter side, metres, None when unknown; and the SHA-256
        of names and places.

    Raises:
        EvaluationError: a position is missing.
    """
    images = read_tiles(folder)
    origin = images[0]

    def place(image: PositionedImage) -> tuple[float, float]:
        if origin.latitude_deg is not None and origin.longitude_deg is not None:
            if image.latitude_deg is None or image.longitude_deg is None:
                raise EvaluationError(f"{image.path.name} has x_m and y_m, the tiles have lat and lon; give both alike")
            east = math.radians(image.longitude_deg - origin.longitude_deg) * math.cos(
                math.radians(origin.latitude_deg)
            )
            return _EARTH_RADIUS_M * east, _EARTH_RADIUS_M * math.radians(image.latitude_deg - origin.latitude_deg)
        if image.x_m is None or image.y_m is None:
            raise EvaluationError(f"{image.path.name} has lat and lon, the tiles have x_m and y_m; give both alike")
        return image.x_m, image.y_m

    digest = hashlib.sha256()
    views = []
    for image in images:
        x_m, y_m = place(image)
        views.append(PlaceQuery(partial(_picture, image.path), x_m, y_m, image.yaw_deg or 0.0, image.meters_per_pixel))
        digest.update(f"{image.path.relative_to(folder)} {x_m:.3f} {y_m:.3f}\n".encode())
    sides = [min(view.load().shape[:2]) * (view.meters_per_pixel or math.nan) for view in views]
    side_m = float(np.median(sides))
    is_known = math.isfinite(side_m)
    tiles = [
        PlaceTile(
            view.x_m,
            view.y_m,
            0.0,
            partial(query_patch, view, side_m=side_m if is_known else 1.0, yaw_error_deg=0.0, scale=1.0),
        )
        for view in views
    ]
    return tiles, place, side_m if is_known else None, digest.hexdigest()


def _picture(path: Path) -> NDArray[np.uint8]:
    return read_rgb(path)[0]


def place_on(ground: GeoreferencedMap) -> Place:
    """How positions come onto a map."""

    def place(image: PositionedImage) -> tuple[float, float]:
        if image.latitude_deg is not None and image.longitude_deg is not None:
            x_m, y_m = ground.from_geographic(image.latitude_deg, image.longitude_deg)
        else:
            x_m, y_m = ground.from_projected(image.x_m or 0.0, image.y_m or 0.0)
        return x_m, y_m

    return place
