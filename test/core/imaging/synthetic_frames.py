"""Frames of a known image in every encoding, encoded here from the definitions of the formats."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import ImageFrame
from gps_denied_inference.core.imaging import ENCODINGS, Encoding

# Far apart in every channel and of different order in each block, so that no swap of channels goes unseen.
BLOCK_COLORS = ((200, 90, 20), (30, 170, 240), (110, 10, 60), (250, 220, 130))
BLOCK = 12
SIZE = 2 * BLOCK

_CHANNEL_ORDER = {"mono": "y", "rgb": "rgb", "bgr": "bgr", "rgba": "rgba", "bgra": "bgra"}
_GENERIC_ORDER = {"C1": "y", "C3": "bgr", "C4": "bgra"}


def four_block_image() -> NDArray[np.uint8]:
    """RGB, shape (SIZE, SIZE, 3): a square of each of `BLOCK_COLORS`."""
    blocks = np.array(BLOCK_COLORS, np.uint8).reshape(2, 2, 3)
    return np.kron(blocks, np.ones((BLOCK, BLOCK, 1), np.uint8)).astype(np.uint8)


def block_interiors(image: NDArray[Any]) -> NDArray[np.float64]:
    """The same in float64, without the 3 pixels around each block's edge, where neighbours' colours mix."""
    keep = np.r_[3 : BLOCK - 3, BLOCK + 3 : SIZE - 3]
    return np.asarray(image[np.ix_(keep, keep)], np.float64)


def luma_bt601(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Full-range luma of ITU-R BT.601."""
    return np.asarray(rgb.astype(np.float64) @ np.array((0.299, 0.587, 0.114)), np.float64)


def ycbcr_bt601(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Limited-range YCbCr of ITU-R BT.601, from the definition of the differences of primaries."""
    red, _, blue = (rgb[..., channel] / 255.0 for channel in range(3))
    luma = luma_bt601(rgb) / 255.0
    planes = (16 + 219 * luma, 128 + 224 * (blue - luma) / 1.772, 128 + 224 * (red - luma) / 1.402)
    return np.rint(np.stack(planes, axis=-1)).astype(np.uint8)


def samples_of(rgb: NDArray[np.uint8], encoding: Encoding) -> NDArray[np.integer]:
    """Rows of samples, shape (rows, samples a row), without padding, in native byte order."""
    name, height = encoding.name, rgb.shape[0]
    if name.startswith("bayer_"):
        mosaic = np.empty(rgb.shape[:2], np.uint8)
        for position, letter in enumerate(name.removeprefix("bayer_")[:4]):
            row, column = divmod(position, 2)
            mosaic[row::2, column::2] = rgb[row::2, column::2, "rgb".index(letter)]
        return _widen(mosaic, encoding)
    if name in ("uyvy", "yuv422", "yuyv", "yuv422_yuy2"):
        luma, blue, red = np.moveaxis(ycbcr_bt601(rgb), -1, 0)
        pairs = (blue[:, 0::2], luma[:, 0::2], red[:, 0::2], luma[:, 1::2])
        if name in ("yuyv", "yuv422_yuy2"):
            pairs = (luma[:, 0::2], blue[:, 0::2], luma[:, 1::2], red[:, 0::2])
        return np.stack(pairs, axis=-1).reshape(height, -1)
    if name in ("nv12", "nv21", "nv24"):
        luma, blue, red = np.moveaxis(ycbcr_bt601(rgb), -1, 0)
        skip = 1 if name == "nv24" else 2
        first, second = (red, blue) if name == "nv21" else (blue, red)
        chroma = np.stack((first[::skip, ::skip], second[::skip, ::skip]), axis=-1)
        return np.concatenate((luma, chroma.reshape(-1, rgb.shape[1])))
    order = _GENERIC_ORDER[name[-2:]] if "UC" in name else _CHANNEL_ORDER[name.rstrip("0123456789")]
    if order == "y":
        return _widen(np.rint(luma_bt601(rgb)).astype(np.uint8), encoding)
    alpha = np.full((*rgb.shape[:2], 1), 77, np.uint8)
    rgba = np.concatenate((rgb, alpha), axis=-1)
    ordered = rgba[..., ["rgba".index(letter) for letter in order]]
    return _widen(ordered.reshape(height, -1), encoding)


def _widen(samples: NDArray[np.uint8], encoding: Encoding) -> NDArray[np.integer]:
    # 257 * v is the 16-bit value of the 8-bit v: 65535 / 255.
    return samples.astype(np.uint16) * np.uint16(257) if encoding.sample_bytes == 2 else samples


def frame_of(rgb: NDArray[np.uint8], encoding_name: str, *, padding: int = 0, is_bigendian: bool = False) -> ImageFrame:
    """A frame that shows `rgb`; padding bytes hold 0xEE."""
    samples = samples_of(rgb, ENCODINGS[encoding_name])
    if samples.dtype == np.uint16:
        samples = samples.astype(">u2" if is_bigendian else "<u2")
    rows = np.ascontiguousarray(samples).view(np.uint8)
    height, width = rgb.shape[:2]
    border = np.full((rows.shape[0], padding), 0xEE, np.uint8)
    if encoding_name == "nv24":
        chroma = np.concatenate(
            (rows[height:].reshape(height, -1), np.full((height, 2 * padding), 0xEE, np.uint8)), axis=1
        )
        luma = np.concatenate((rows[:height], border[:height]), axis=1)
        padded = np.concatenate((luma.reshape(-1), chroma.reshape(-1)))
    else:
        padded = np.concatenate((rows, border), axis=1).reshape(-1)
    step = rows.shape[1] + padding
    return ImageFrame(7, "camera", encoding_name, height, width, step, is_bigendian, padded)
