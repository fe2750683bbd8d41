"""The map, cut into tiles that look like camera images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import ImageFrame
from gps_denied_inference.core.flight.camera import NadirCamera, orthophoto_span_m
from gps_denied_inference.core.flight.orthophoto import Orthophoto
from gps_denied_inference.core.flight.pose import CameraPose

__all__ = ["TileGrid", "TileView", "camera_of_tiles", "cut_tile", "frame_of_tile", "plan_tiles", "render_tile"]

_FOV_DEG = 60.0
"""Any does: with the height that goes with it a tile's ground is what was asked for."""

_BLUR_REACH = 1.5
"""How far the antialiasing blur reaches, pixels of the map, for each time that the map is finer than the picture: the
three sigmas of OpenCV's kernel."""
_INTERPOLATION_PX = 4


@dataclass(frozen=True, slots=True)
class TileView:
    """One tile at one heading.

    Attributes:
        x_m, y_m: its centre, map frame.
        heading_deg: direction of its top edge, clockwise from north.
    """

    x_m: float
    y_m: float
    heading_deg: float


@dataclass(frozen=True, slots=True)
class TileGrid:
    """All tiles of a map.

    Attributes:
        camera: takes the tiles.
        height_m: from which they are taken, metres.
        stride_m: distance of neighbouring centres (x, y), metres.
        positions: number of centres.
        headings: number of headings at each centre, evenly spaced.
        views: every centre at every heading.
    """

    camera: NadirCamera
    height_m: float
    stride_m: tuple[float, float]
    positions: int
    headings: int
    views: tuple[TileView, ...]

    @property
    def side_m(self) -> float:
        """Shorter side of a tile on the ground, metres."""
        return min(self.camera.footprint_m(self.height_m))


def camera_of_tiles(shorter_px: int, aspect: float, side_m: float) -> tuple[NadirCamera, float]:
    """Return a camera, and the height from which it sees a tile.

    Args:
        shorter_px: shorter side of a tile's picture.
        aspect: width of the picture by its height.
        side_m: the shorter side on the ground.
    """
    width_px, height_px = (
        (round(shorter_px * aspect), shorter_px) if aspect >= 1 else (shorter_px, round(shorter_px / aspect))
    )
    camera = NadirCamera(width_px, height_px, _FOV_DEG)
    return camera, side_m / min(camera.footprint_m(1.0))


def plan_tiles(
    orthophoto: Orthophoto, camera: NadirCamera, *, height_m: float, stride_m: float, headings: int
) -> TileGrid:
    """Lay a grid of tiles that stay on the orthophoto at any heading.

    Args:
        orthophoto: the map.
        camera: takes the tiles; its aspect ratio should be that of the flying camera, its image may be smaller.
        height_m: the flight's mean height.
        stride_m: distance of neighbouring centres, about.
        headings: at each centre.
    """
    width_m, depth_m = camera.footprint_m(height_m)
    x_min, x_max, y_min, y_max = orthophoto_span_m(orthophoto, math.hypot(width_m, depth_m) / 2)
    columns = max(2, round((x_max - x_min) / stride_m) + 1)
    rows = max(2, round((y_max - y_min) / stride_m) + 1)
    views = tuple(
        TileView(float(x), float(y), 360.0 * index / headings)
        for y in np.linspace(y_min, y_max, rows)
        for x in np.linspace(x_min, x_max, columns)
        for index in range(headings)
    )
    stride = ((x_max - x_min) / (columns - 1), (y_max - y_min) / (rows - 1))
    return TileGrid(camera, height_m, stride, rows * columns, headings, views)


def render_tile(orthophoto: Orthophoto, grid: TileGrid, view: TileView) -> NDArray[np.uint8]:
    """Return the tile, RGB, shape (height_px, width_px, 3) of the grid's camera."""
    pose = CameraPose(0, view.x_m, view.y_m, grid.height_m, view.heading_deg)
    return grid.camera.render(orthophoto, pose)


def cut_tile(orthophoto: Orthophoto, camera: NadirCamera, height_m: float, view: TileView) -> NDArray[np.uint8]:
    """Return what `render_tile` returns, looking at no more of the orthophoto than the tile covers.

    `render_tile` blurs the whole orthophoto once and keeps it, for thousands of tiles; this is for one now and then, of
    a map that should be in memory once.

    Args:
        orthophoto: the map.
        camera: takes the tile, from `height_m`.
        view: where.

    Returns:
        RGB, shape (height_px, width_px, 3) of the camera; mirrored where the orthophoto ends.
    """
    rows, columns = orthophoto.image_rgb.shape[:2]
    scale_m = orthophoto.meters_per_pixel
    reduction = height_m / camera.focal_px / scale_m
    reach_px = math.hypot(*camera.footprint_m(height_m)) / 2 / scale_m + _BLUR_REACH * reduction + _INTERPOLATION_PX
    column, row = view.x_m / scale_m, rows - view.y_m / scale_m
    left, right = _span(column, reach_px, columns)
    top, bottom = _span(row, reach_px, rows)
    part = Orthophoto(np.ascontiguousarray(orthophoto.image_rgb[top:bottom, left:right]), scale_m)
    pose = CameraPose(0, view.x_m - left * scale_m, view.y_m - (rows - bottom) * scale_m, height_m, view.heading_deg)
    return camera.render(part, pose)


def frame_of_tile(tile_rgb: NDArray[np.uint8]) -> ImageFrame:
    """Return a tile's picture (H, W, 3) as a camera's frame."""
    height, width = tile_rgb.shape[:2]
    return ImageFrame(0, "tile", "rgb8", height, width, 3 * width, False, np.ascontiguousarray(tile_rgb).reshape(-1))


def _span(center_px: float, reach_px: float, size_px: int) -> tuple[int, int]:
    """First and last pixel, the latter excluded, within the picture; at least one."""
    first = min(max(math.floor(center_px - reach_px), 0), size_px - 1)
    return first, max(min(math.ceil(center_px + reach_px), size_px), first + 1)
