"""A small map on disk and an index of its tiles, laid as `gdi index build` lays them, with made-up descriptors."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.atomic_files import file_sha256
from gps_denied_inference.core.flight import (
    GeoreferencedMap,
    TileGrid,
    camera_of_tiles,
    load_georeferenced_map,
    plan_tiles,
)
from gps_denied_inference.core.index import TileIndex, TileIndexDetails, load_tile_index, save_tile_index

rasterio: Any = importlib.import_module("rasterio")

__all__ = ["CRS", "IndexedMap", "index_map", "write_map"]

CRS, _WEST_M, _NORTH_M, _SCALE_M = "EPSG:32612", 528_000.0, 4_978_247.2, 0.1


@dataclass(frozen=True, slots=True)
class IndexedMap:
    """A map's file, what it holds, and the index.

    Attributes:
        grid: its tiles as they were planned, in the map's own frame.
    """

    map_path: Path
    ground: GeoreferencedMap
    index_path: Path
    index: TileIndex
    grid: TileGrid


def write_map(
    path: Path, image_rgb: NDArray[np.uint8], *, east_m: float = 0.0, scale_m: float = _SCALE_M, crs: str = CRS
) -> Path:
    """Write a GeoTIFF, `east_m` to the east of where others lie."""
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=image_rgb.shape[1],
        height=image_rgb.shape[0],
        count=3,
        dtype="uint8",
        crs=crs or None,
        transform=rasterio.Affine(scale_m, 0, _WEST_M + east_m, 0, -scale_m, _NORTH_M),
    ) as file:
        file.write(np.moveaxis(image_rgb, 2, 0))
    return path


def index_map(
    map_path: Path, *, side_m: float = 40.0, aspect: float = 4 / 3, stride_m: float = 15.0, headings: int = 4
) -> IndexedMap:
    """Write an index beside a map."""
    ground = load_georeferenced_map(map_path, CRS)
    camera, height_m = camera_of_tiles(224, aspect, side_m)
    grid = plan_tiles(ground.orthophoto, camera, height_m=height_m, stride_m=stride_m, headings=headings)
    positions = np.array([(ground.west_m + view.x_m, ground.south_m + view.y_m) for view in grid.views])
    index = TileIndex(
        "net/8/0123456789ab/01234567",
        np.random.default_rng(1).standard_normal((len(grid.views), 8), np.float32),
        positions,
        np.array([view.heading_deg for view in grid.views]),
        TileIndexDetails(
            model="net",
            crs=ground.crs,
            side_m=side_m,
            aspect=aspect,
            maps=((map_path.name, file_sha256(map_path)),),
        ),
    )
    path = map_path.with_suffix(".index")
    save_tile_index(index, path)
    return IndexedMap(map_path, ground, path, load_tile_index(path), grid)
