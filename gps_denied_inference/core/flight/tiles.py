"""The map, cut into tiles that look like camera images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.flight.camera import NadirCamera, orthophoto_span_m
from gps_denied_inference.core.flight.orthophoto import Orthophoto
from gps_denied_inference.core.flight.pose import CameraPose

__all__ = ["TileGrid", "TileView", "plan_tiles", "render_tile"]


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
