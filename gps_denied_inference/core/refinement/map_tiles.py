"""Pictures of the tiles of an index, cut out of the maps that it was built from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.atomic_files import file_sha256
from gps_denied_inference.core.errors import InferenceError, SettingsError
from gps_denied_inference.core.flight import (
    GeoreferencedMap,
    Orthophoto,
    TileView,
    camera_of_tiles,
    cut_tile,
    load_georeferenced_map,
)
from gps_denied_inference.core.index import TileIndex
from gps_denied_inference.core.optional import require

__all__ = ["MapTiles", "load_map_tiles"]

_FINEST = 2.0
"""A map that is finer than its tiles' pictures by more than this is made coarser once: each cut would blur it again."""
_TOLERANCE, _TOLERANCE_PX = 0.995, 2.0
"""Of the margin: sides of pictures are whole pixels, and so were those that the index was built of."""


class MapTiles:
    """Pictures of tiles as `gdi index build` takes them, with as many pixels as are wanted. A `PictureScale`.

    Args:
        index: whose tiles these are.
        maps: that cover them, in the index's coordinates.
        shorter_px: shorter side of a picture.
        least_margin_m: how far from the edge of its map the centre of a tile lies at least.

    Raises:
        SettingsError: a tile lies on none of the maps, or the index does not say how large its tiles are.
    """

    def __init__(
        self, index: TileIndex, maps: Sequence[GeoreferencedMap], *, shorter_px: int, least_margin_m: float = 0.0
    ) -> None:
        side_m = index.details.side_m
        if not side_m > 0:
            raise SettingsError(
                "index", index.sha256, "an index that says how large its tiles are; build it with 'gdi index build'"
            )
        self.index = index
        self.meters_per_pixel = side_m / shorter_px
        self._map_of_tile = _map_of_each_tile(index, maps, least_margin_m)
        self._maps = tuple(_coarser(ground, self.meters_per_pixel) for ground in maps)
        self._camera, self._height_m = camera_of_tiles(shorter_px, index.details.aspect, side_m)

    @property
    def image_height(self) -> int:
        return self._camera.height_px

    @property
    def image_width(self) -> int:
        return self._camera.width_px

    def picture(self, tile: int) -> NDArray[np.uint8]:
        """Return the picture of a tile, its top edge along the tile's heading: RGB, (image_height, image_width, 3).

        Raises:
            InferenceError: there is no such tile.
        """
        if not 0 <= tile < len(self.index):
            raise InferenceError(
                f"there is no tile {tile}; the index has {len(self.index)}: take the candidates of its file"
            )
        ground = self._maps[self._map_of_tile[tile]]
        x_m, y_m = ground.from_projected(*(float(value) for value in self.index.positions_m[tile]))
        view = TileView(x_m, y_m, float(self.index.headings_deg[tile]))
        return cut_tile(ground.orthophoto, self._camera, self._height_m, view)


def load_map_tiles(index: TileIndex, paths: Sequence[Path], *, shorter_px: int) -> MapTiles:
    """Read the maps of an index into memory: 3 bytes a pixel, of up to 200 million pixels each.

    Args:
        index: says which maps it was built from, by their content.
        paths: of these maps, in any order.
        shorter_px: shorter side of a tile's picture.

    Raises:
        SettingsError: there is no map, one is not the index's or is missing, lies elsewhere than when the index was
            built, or has other coordinates.
        EvaluationError: a file is no map.
        RuntimeNotAvailableError: rasterio is not installed.
    """
    details = index.details
    _require_maps_of(index, paths)
    maps = []
    for path in paths:
        ground = load_georeferenced_map(path, details.crs)
        if ground.crs != details.crs:
            raise SettingsError(
                "maps",
                str(path),
                f"a map in '{details.crs}', the coordinates of the index; this one is in '{ground.crs}'",
            )
        maps.append(ground)
    # A world file is not part of a map's content. `gdi index build` lays tiles right up to the edges, at any heading: a
    # map that has moved since leaves some of them sticking out.
    diagonal_m = details.side_m * math.hypot(max(details.aspect, 1 / details.aspect), 1.0)
    return MapTiles(index, maps, shorter_px=shorter_px, least_margin_m=diagonal_m / 2 if details.maps else 0.0)


def _require_maps_of(index: TileIndex, paths: Sequence[Path]) -> None:
    """Compare the files' content with what the index says of its maps; one that says nothing takes any."""
    names = {sha256: name for name, sha256 in index.details.maps}
    wanted = ", ".join(f"{name} (SHA-256 {sha256})" for sha256, name in names.items()) or "those it was built from"
    if not paths:
        raise SettingsError("maps", [], f"paths of the maps of the index: {wanted}")
    missing = dict(names)
    for path in paths:
        try:
            sha256 = file_sha256(path)
        except OSError as error:
            raise SettingsError("maps", str(path), f"a file that can be read ({error.strerror})") from error
        if names and sha256 not in names:
            raise SettingsError(
                "maps",
                str(path),
                f"a map that the index was built from: {wanted}; this file has SHA-256 {sha256}: give the right one, "
                "or build the index again",
            )
        missing.pop(sha256, None)
    if missing:
        raise SettingsError(
            "maps", [str(path) for path in paths], f"all maps of the index; {', '.join(missing.values())} is missing"
        )


def _map_of_each_tile(index: TileIndex, maps: Sequence[GeoreferencedMap], least_margin_m: float) -> NDArray[np.intp]:
    """For each row of the index, the first map that it lies on. Shape (N,)."""
    found = np.full(len(index), -1, np.intp)
    for number, ground in enumerate(maps):
        picture = ground.orthophoto
        margin_m = _TOLERANCE * least_margin_m - _TOLERANCE_PX * picture.meters_per_pixel
        x_m, y_m = (index.positions_m - (ground.west_m, ground.south_m)).T
        is_on = (x_m >= margin_m) & (x_m <= picture.width_m - margin_m)
        is_on &= (y_m >= margin_m) & (y_m <= picture.height_m - margin_m)
        found[is_on & (found < 0)] = number
    if (found < 0).any():
        row = int(np.argmax(found < 0))
        x_m, y_m = index.positions_m[row]
        raise SettingsError(
            "maps",
            len(maps),
            f"maps that lie where they lay when the index was built; {int((found < 0).sum())} of its {len(index)} "
            f"tiles reach beyond them, the first at {x_m:.1f}, {y_m:.1f} m: check the world files",
        )
    return found


def _coarser(ground: GeoreferencedMap, meters_per_pixel: float) -> GeoreferencedMap:
    """The map with whole blocks of pixels averaged, where its pixels are much smaller than those of the pictures."""
    picture = ground.orthophoto
    factor = math.floor(meters_per_pixel / picture.meters_per_pixel / _FINEST)
    if factor < 2:
        return ground
    cv2 = require("cv2", install="pip install 'opencv-python-headless<5'", purpose="cutting tiles")
    rows, columns = (size // factor for size in picture.image_rgb.shape[:2])
    whole = picture.image_rgb[: rows * factor, : columns * factor]
    image_rgb: NDArray[np.uint8] = cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)
    left_over_m = (picture.image_rgb.shape[0] - rows * factor) * picture.meters_per_pixel
    return replace(
        ground,
        orthophoto=Orthophoto(image_rgb, picture.meters_per_pixel * factor),
        south_m=ground.south_m + left_over_m,
    )
