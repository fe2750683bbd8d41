"""OpenCV, behind the three calls that decoding needs. The only file of this room that loads cv2."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.errors import ImageDecodeError
from gps_denied_inference.core.optional import require

__all__ = ["convert_color", "decode_jpeg", "decode_png", "eight_bit_from_sixteen"]


def _opencv() -> ModuleType:
    return require("cv2", install='pip install "opencv-python-headless<5"', purpose="image decoding")


def convert_color(image: NDArray[Any], code_name: str) -> NDArray[Any]:
    """Run the conversion that OpenCV calls `code_name`, e.g. `COLOR_BGR2RGB`; returns a new array.

    Raises:
        ImageDecodeError: OpenCV refuses the image.
        RuntimeNotAvailableError: OpenCV is not installed.
    """
    cv2 = _opencv()
    try:
        converted: NDArray[Any] = cv2.cvtColor(image, getattr(cv2, code_name))
    except cv2.error as error:
        raise ImageDecodeError(
            f"OpenCV cannot run {code_name} on an image of shape {image.shape}, {image.dtype}: {error}"
        ) from error
    return converted


def eight_bit_from_sixteen(image: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Scale 0..65535 to 0..255 with rounding, as cv_bridge does; returns a new array of the same shape."""
    cv2 = _opencv()
    flat = np.ascontiguousarray(image).reshape(image.shape[0], -1)
    scaled: NDArray[np.uint8] = cv2.convertScaleAbs(flat, alpha=255.0 / 65535.0)
    return scaled.reshape(image.shape)


def decode_jpeg(data: NDArray[np.uint8], *, gray: bool) -> NDArray[np.uint8]:
    """Decode to (H, W, 3) BGR or (H, W) luma.

    EXIF orientation is ignored: pixel coordinates belong to the sensor.
    """
    cv2 = _opencv()
    kind = cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR
    image: NDArray[np.uint8] = _imdecode(cv2, data, kind | cv2.IMREAD_IGNORE_ORIENTATION, "JPEG")
    return image


def decode_png(data: NDArray[np.uint8]) -> NDArray[Any]:
    """Decode to (H, W), (H, W, 3) BGR or (H, W, 4) BGRA, uint8 or uint16, as stored.

    libpng refuses truncated files and wrong checksums. EXIF orientation is ignored.
    """
    cv2 = _opencv()
    return _imdecode(cv2, data, cv2.IMREAD_UNCHANGED, "PNG")


def _imdecode(cv2: ModuleType, data: NDArray[np.uint8], flags: int, name: str) -> NDArray[Any]:
    try:
        image: NDArray[Any] | None = cv2.imdecode(data, flags)
    except cv2.error as error:
        raise ImageDecodeError(f"OpenCV cannot decode a {name} of {data.size} bytes: {error}") from error
    if image is None:
        raise ImageDecodeError(f"OpenCV cannot decode a {name} of {data.size} bytes: its content is damaged")
    return image
