"""Where an image lies on the map, by the homography to the picture of a tile."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.index.tile_index import TileIndex

__all__ = ["PictureScale", "image_center_m"]


class PictureScale(Protocol):
    """How a map's tiles are pictured: all with one size. `TileFeatures` say it, and whoever cuts tiles out of a map."""

    @property
    def image_height(self) -> int: ...

    @property
    def image_width(self) -> int: ...

    @property
    def meters_per_pixel(self) -> float: ...


def image_center_m(
    homography: NDArray[np.float64] | None,
    index: TileIndex,
    pictures: PictureScale,
    tile: int,
    *,
    image_height: int,
    image_width: int,
) -> tuple[float, float]:
    """Return where the centre of an image lies: the point below the camera, as far as it looks straight down.

    Args:
        homography: float64, (3, 3), from the image's pixels to those of the tile's picture; None when none was found.
        index: the map's.
        pictures: of its tiles.
        tile: row of the index.
        image_height, image_width: of the image, pixels.

    Returns:
        x and y in the map's coordinates, metres; NaN without a homography, or when it puts the centre at infinity.

    Raises:
        InferenceError: there is no such tile.
    """
    if not 0 <= tile < len(index):
        raise InferenceError(f"there is no tile {tile}; the index has {len(index)}: match with the tiles of its file")
    if homography is None:
        return math.nan, math.nan
    center = homography @ ((image_width - 1) / 2, (image_height - 1) / 2, 1.0)
    if abs(center[2]) < 1e-12:
        return math.nan, math.nan
    middle_px = np.array([(pictures.image_width - 1) / 2, (pictures.image_height - 1) / 2])
    right_m, down_m = (center[:2] / center[2] - middle_px) * pictures.meters_per_pixel
    # The picture's top edge looks along the heading, clockwise from north (y).
    heading = math.radians(float(index.headings_deg[tile]))
    x_m, y_m = index.positions_m[tile]
    return (
        float(x_m + right_m * math.cos(heading) - down_m * math.sin(heading)),
        float(y_m - right_m * math.sin(heading) - down_m * math.cos(heading)),
    )
