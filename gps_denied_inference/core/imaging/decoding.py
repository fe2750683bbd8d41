"""From a received frame to an 8-bit image."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import ColorSpace, CompressedFrame, Frame, ImageFrame
from gps_denied_inference.core.errors import ImageDecodeError
from gps_denied_inference.core.imaging.compressed import decode_compressed
from gps_denied_inference.core.imaging.encodings import ChromaLayout, Encoding, encoding_by_name
from gps_denied_inference.core.imaging.opencv import convert_color, eight_bit_from_sixteen

__all__ = ["decode"]

_REVERSED = "COLOR_BGR2RGB"


def decode(frame: Frame, color: ColorSpace) -> NDArray[np.uint8]:
    """Decode a frame.

    Args:
        frame: as received.
        color: what the network takes.

    Returns:
        uint8, shape (H, W, 3) RGB or (H, W, 1) gray. Where the samples are already what is asked for (`rgb8`
        and `bgr8` as RGB, `mono8` as gray) it is a view of `frame.data`, rows padded as sent, channels in reverse for
        `bgr8`, read-only where that is; otherwise a new array.

    Raises:
        UnsupportedEncodingError: an encoding or compressed format that is not decoded here.
        ImageDecodeError: the bytes are not the image that the header claims.
        RuntimeNotAvailableError: a conversion is needed and OpenCV is not installed.
    """
    if isinstance(frame, CompressedFrame):
        return decode_compressed(frame, color)
    encoding = encoding_by_name(frame.encoding)
    _check_layout(frame, encoding)
    code = encoding.conversion_code(color)
    image: NDArray[Any]
    if encoding.chroma is ChromaLayout.SEMIPLANAR_444:
        image = convert_color(_double_width_yuyv(frame), code)[:, ::2]
    else:
        samples = _samples(frame, encoding)
        if code == _REVERSED and encoding.sample_bytes == 1:
            # No pass over the frame: the preprocessor resizes it as it lies, and the few pixels that are left change
            # places when they are split into planes anyway.
            image = samples[:, :, ::-1]
        else:
            image = convert_color(samples, code) if code else samples
    # Colour first and depth second, in the order of cv_bridge: rounding once, at the end.
    if encoding.sample_bytes == 2:
        image = eight_bit_from_sixteen(image)
    return image.reshape(frame.height, frame.width, color.channels)


def _check_layout(frame: ImageFrame, encoding: Encoding) -> None:
    what = f"{frame.width}x{frame.height} image of encoding '{frame.encoding}'"
    if frame.height <= 0 or frame.width <= 0:
        raise ImageDecodeError(f"{what} is empty; width and height must be at least 1: check the camera driver")
    if not encoding.fits(frame.height, frame.width):
        raise ImageDecodeError(f"{what} cannot exist: this encoding needs {encoding.chroma.value}")
    row_bytes = frame.width * encoding.samples_per_pixel * encoding.sample_bytes
    if frame.step < row_bytes:
        raise ImageDecodeError(
            f"{what} has a step of {frame.step} bytes; expected at least {row_bytes} "
            f"({frame.width} pixels of {encoding.samples_per_pixel * encoding.sample_bytes} bytes)"
        )
    rows = encoding.row_count(frame.height)
    if frame.data.size < rows * frame.step:
        raise ImageDecodeError(
            f"{what} has {frame.data.size} bytes; expected at least {rows * frame.step} "
            f"({rows} rows of {frame.step} bytes): the message is truncated or its header is wrong"
        )


def _samples(frame: ImageFrame, encoding: Encoding) -> NDArray[Any]:
    """View of the samples without the padding, in native byte order: (rows, W) or (rows, W, samples)."""
    rows = encoding.row_count(frame.height)
    row_bytes = frame.width * encoding.samples_per_pixel * encoding.sample_bytes
    samples: NDArray[Any] = frame.data[: rows * frame.step].reshape(rows, frame.step)[:, :row_bytes]
    if encoding.sample_bytes == 2:
        samples = samples.view(np.uint16)
        if frame.is_bigendian != (sys.byteorder == "big"):
            samples = samples.byteswap()
        # An odd step or offset leaves samples on odd addresses, which OpenCV does not expect.
        samples = np.require(samples, requirements="A")
    if encoding.samples_per_pixel == 1:
        return samples
    return samples.reshape(rows, frame.width, encoding.samples_per_pixel)


def _double_width_yuyv(frame: ImageFrame) -> NDArray[np.uint8]:
    """YUYV, shape (H, 2 W, 2), from NV24: each pixel becomes a pair that shares its own chroma.

    NV24 is a luma plane with rows of `step` bytes, then a plane of interleaved Cb, Cr with rows of twice that
    (V4L2, `pixfmt-yuv-planar`).
    """
    height, width, step = frame.height, frame.width, frame.step
    luma = frame.data[: height * step].reshape(height, step)[:, :width]
    chroma = frame.data[height * step : 3 * height * step].reshape(height, 2 * step)[:, : 2 * width]
    packed = np.empty((height, width, 4), np.uint8)
    packed[:, :, 0] = luma
    packed[:, :, 1] = chroma[:, 0::2]
    packed[:, :, 2] = luma
    packed[:, :, 3] = chroma[:, 1::2]
    return packed.reshape(height, 2 * width, 2)
