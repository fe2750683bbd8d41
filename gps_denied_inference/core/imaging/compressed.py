"""JPEG and PNG, as `sensor_msgs/CompressedImage` carries them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import ColorSpace, CompressedFrame
from gps_denied_inference.core.errors import ImageDecodeError, UnsupportedEncodingError
from gps_denied_inference.core.imaging.opencv import (
    convert_color,
    decode_jpeg,
    decode_png,
    eight_bit_from_sixteen,
)

__all__ = ["decode_compressed"]

_JPEG_START = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9"
_JPEG_START_OF_SCAN = 0xDA
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def decode_compressed(frame: CompressedFrame, color: ColorSpace) -> NDArray[np.uint8]:
    """Decode a compressed frame by its leading bytes; `frame.format` only serves the messages.

    Gray of a colour JPEG is its stored luma. EXIF orientation is not applied.

    Returns:
        uint8, shape (H, W, 3) RGB or (H, W, 1) gray, owned by the caller.

    Raises:
        UnsupportedEncodingError: neither JPEG nor PNG, or a depth image.
        ImageDecodeError: empty, truncated or damaged data.
    """
    if "compresseddepth" in frame.format.lower():
        raise UnsupportedEncodingError(
            f"compressed format '{frame.format}' is a depth image; a camera image (JPEG or PNG) is needed: "
            f"remap the topic to the camera's own, or set the node parameter 'image_transport' to 'raw'"
        )
    data = np.ascontiguousarray(frame.data)
    if data.size == 0:
        raise ImageDecodeError(f"compressed image of format '{frame.format}' has no data; expected JPEG or PNG bytes")
    head = data[: len(_PNG_SIGNATURE)].tobytes()
    if head.startswith(_JPEG_START):
        _check_jpeg_is_complete(data)
        return _image_from_jpeg(data, color)
    if head == _PNG_SIGNATURE:
        return _image_from_png(data, color)
    raise UnsupportedEncodingError(
        f"compressed image of format '{frame.format}' starts with the bytes {head.hex(' ')}, which is "
        f"neither JPEG (ff d8 ff) nor PNG (89 50 4e 47); let the camera send one of these, or set the "
        f"node parameter 'image_transport' to 'raw'"
    )


def _image_from_jpeg(data: NDArray[np.uint8], color: ColorSpace) -> NDArray[np.uint8]:
    if color is ColorSpace.GRAY:
        return decode_jpeg(data, gray=True)[:, :, np.newaxis]
    return convert_color(decode_jpeg(data, gray=False), "COLOR_BGR2RGB")


def _image_from_png(data: NDArray[np.uint8], color: ColorSpace) -> NDArray[np.uint8]:
    image = decode_png(data)
    channels = 1 if image.ndim == 2 else image.shape[2]
    source = {1: "GRAY", 3: "BGR", 4: "BGRA"}[channels]
    target = "RGB" if color is ColorSpace.RGB else "GRAY"
    if source != target:
        image = convert_color(image, f"COLOR_{source}2{target}")
    if image.dtype == np.uint16:
        image = eight_bit_from_sixteen(image)
    return image.reshape(image.shape[0], image.shape[1], color.channels)


def _check_jpeg_is_complete(data: NDArray[np.uint8]) -> None:
    """Find the end marker after the first scan: without it OpenCV 4.6 returns a half-gray image and no error.

    The segments before the scan are stepped over, because an EXIF thumbnail there has an end marker of its
    own. Inside the scans `ff d9` cannot occur (`ff` is escaped). Padding behind the marker is allowed: MJPEG
    cameras send it.
    """
    position = 2
    while True:
        segment = data[position : position + 4].tobytes()
        if len(segment) < 4 or segment[0] != 0xFF:
            raise _truncated_jpeg(data.size, f"its header breaks off or is damaged at byte {position}")
        if segment[1] == 0xFF:
            position += 1
            continue
        position += 2 + int.from_bytes(segment[2:4], "big")
        if segment[1] == _JPEG_START_OF_SCAN:
            break
    tail_start = max(position, data.size - 1024)
    if _JPEG_END in data[tail_start:].tobytes() or _JPEG_END in data[position:].tobytes():
        return
    raise _truncated_jpeg(data.size, "its end marker (ff d9) is missing")


def _truncated_jpeg(size: int, what: str) -> ImageDecodeError:
    return ImageDecodeError(
        f"JPEG of {size} bytes is truncated or damaged: {what}; expected a complete file: check the link to the camera"
    )
