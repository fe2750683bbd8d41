"""Maps that know where they lie: GeoTIFF, or pictures with a world file."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gps_denied_inference.core.errors import EvaluationError
from gps_denied_inference.core.flight.orthophoto import Orthophoto
from gps_denied_inference.core.optional import require

__all__ = ["GeoreferencedMap", "load_georeferenced_map"]

_INSTALL = "pip install rasterio==1.4.4"
_PURPOSE = "reading georeferenced maps"
_MOST_PIXELS = 200_000_000
"""Larger maps are read at a lower resolution: 0.6 GB as RGB."""


@dataclass(frozen=True, slots=True, eq=False)
class GeoreferencedMap:
    """A picture of the ground and its place on the Earth.

    Attributes:
        orthophoto: the picture; its map frame starts at its south-west corner.
        west_m, south_m: of that corner, in the coordinates of `crs`.
        crs: the metric coordinate system, as rasterio names it; empty when the file names none.
    """

    orthophoto: Orthophoto
    west_m: float
    south_m: float
    crs: str

    def from_projected(self, x_m: float, y_m: float) -> tuple[float, float]:
        """Bring coordinates of `crs` to the map frame, metres."""
        return x_m - self.west_m, y_m - self.south_m

    def from_geographic(self, latitude_deg: float, longitude_deg: float) -> tuple[float, float]:
        """Bring WGS 84 to the map frame, metres.

        Raises:
            EvaluationError: the map names no coordinate system.
        """
        if not self.crs:
            raise EvaluationError(
                "the map names no coordinate system, so latitudes and longitudes cannot be placed on it; name it with "
                "--map-crs EPSG:…, or give positions as x_m and y_m"
            )
        warp = require("rasterio.warp", install=_INSTALL, purpose=_PURPOSE)
        (x,), (y,) = warp.transform("EPSG:4326", self.crs, [longitude_deg], [latitude_deg])
        return self.from_projected(float(x), float(y))

    def covers(self, x_m: float, y_m: float) -> bool:
        """A point of the map frame lies on the picture."""
        return 0 <= x_m <= self.orthophoto.width_m and 0 <= y_m <= self.orthophoto.height_m


def load_georeferenced_map(path: Path, crs: str = "") -> GeoreferencedMap:
    """Read a map. One in degrees is brought to its UTM zone.

    Args:
        path: of a file that rasterio reads, georeferenced in itself or by a world file beside it.
        crs: its coordinate system, e.g. `EPSG:32615`, where the file names none.

    Raises:
        EvaluationError: the file is missing, no picture, not georeferenced, turned against north, or has other than
            square pixels or fewer than three bands.
        RuntimeNotAvailableError: rasterio is not installed.
    """
    rasterio = require("rasterio", install=_INSTALL, purpose=_PURPOSE)
    errors = require("rasterio.errors", install=_INSTALL, purpose=_PURPOSE)
    vrt = require("rasterio.vrt", install=_INSTALL, purpose=_PURPOSE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", errors.NotGeoreferencedWarning)
            with rasterio.open(path) as source:
                if source.transform.is_identity:
                    raise EvaluationError(
                        f"{path} is not georeferenced; give a GeoTIFF, or put a world file beside it (.jgw, .pgw, .tfw)"
                    )
                system = source.crs or (rasterio.crs.CRS.from_user_input(crs) if crs else None)
                if system is not None and system.is_geographic:
                    with vrt.WarpedVRT(source, src_crs=system, crs=_utm_zone(source)) as projected:
                        return _read(projected, path, str(projected.crs))
                return _read(source, path, "" if system is None else str(system))
    except errors.RasterioError as error:
        raise EvaluationError(f"{path} cannot be read as a map: {error}") from error


def _utm_zone(source: Any) -> str:
    """Name of the UTM zone of a map in degrees."""
    longitude = (source.bounds.left + source.bounds.right) / 2
    latitude = (source.bounds.top + source.bounds.bottom) / 2
    zone = min(60, max(1, math.floor((longitude + 180) / 6) + 1))
    return f"EPSG:{(32600 if latitude >= 0 else 32700) + zone}"


def _read(source: Any, path: Path, crs: str) -> GeoreferencedMap:
    transform = source.transform
    if abs(transform.b) > 1e-9 or abs(transform.d) > 1e-9 or transform.e >= 0:
        raise EvaluationError(f"{path} is turned against north; make it north-up first: gdalwarp {path} north_up.tif")
    if abs(transform.a + transform.e) > 0.01 * transform.a:
        raise EvaluationError(
            f"{path} has pixels of {transform.a:g} by {-transform.e:g} m; expected square ones: "
            f"gdalwarp -tr {transform.a:g} {transform.a:g} {path} square.tif"
        )
    if source.count < 3:
        raise EvaluationError(f"{path} has {source.count} band(s); expected red, green and blue")
    step = math.ceil(math.sqrt(source.width * source.height / _MOST_PIXELS))
    height, width = source.height // step, source.width // step
    bands = source.read((1, 2, 3), out_shape=(3, height, width))
    if bands.dtype != np.uint8:
        raise EvaluationError(
            f"{path} has values of type {bands.dtype}; expected 8 bits: gdal_translate -ot Byte -scale"
        )
    image_rgb = np.ascontiguousarray(np.moveaxis(bands, 0, 2))
    south = transform.f + transform.e * source.height
    return GeoreferencedMap(Orthophoto(image_rgb, transform.a * source.width / width), transform.c, south, crs)
