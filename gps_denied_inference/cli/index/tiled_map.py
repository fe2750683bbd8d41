"""A map that was cut into tiles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import ImageFrame
from gps_denied_inference.core.flight import GeoreferencedMap, TileGrid

__all__ = ["TiledMap", "frame_of_tile"]


@dataclass(frozen=True, slots=True)
class TiledMap:
    """A map's file, its hash, the map and its tiles."""

    path: Path
    sha256: str
    ground: GeoreferencedMap
    grid: TileGrid


def frame_of_tile(tile_rgb: NDArray[np.uint8]) -> ImageFrame:
    """Return a tile's picture (H, W, 3) as a camera's frame."""
    height, width = tile_rgb.shape[:2]
    return ImageFrame(0, "tile", "rgb8", height, width, 3 * width, False, np.ascontiguousarray(tile_rgb).reshape(-1))
