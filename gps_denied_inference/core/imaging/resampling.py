"""Antialiased bilinear resampling of 8-bit images: the protocol, the choice, and the one that needs only numpy.

The filter is the triangle of bilinear interpolation, widened by the reduction factor and normalised at the
borders, with pixel centres at half-integers: what Pillow's BILINEAR and torch's `interpolate(antialias=True)`
compute. Without the antialiasing (OpenCV's INTER_LINEAR) pixels are off by up to 100 of 255 when a 1080p
frame shrinks to 224 pixels, and INTER_AREA by up to 41.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.errors import RuntimeNotAvailableError

__all__ = ["RESAMPLERS", "NumpyResampler", "Resampler", "choose_resampler"]


class Resampler(Protocol):
    """Antialiased bilinear resize."""

    @property
    def name(self) -> str:
        """As `choose_resampler` takes it and reports show it."""
        ...

    def resize(self, image_hwc: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
        """Resize (H, W, C) to (height, width, C), within 1/255 of the same filter in floating point.

        The image may be read-only and its rows padded; the result may be strided, and is the caller's.
        """
        ...


@lru_cache(maxsize=32)
def _taps(source_size: int, target_size: int) -> tuple[tuple[int, NDArray[np.float32]], ...]:
    """First source index and normalised weights of each target pixel."""
    scale = source_size / target_size
    support = max(scale, 1.0)
    taps = []
    for index in range(target_size):
        center = (index + 0.5) * scale
        first = max(math.floor(center - support + 0.5), 0)
        last = min(math.floor(center + support + 0.5), source_size)
        distance = np.abs((np.arange(first, last) + 0.5 - center) / support)
        weights = np.maximum(1.0 - distance, 0.0)
        taps.append((first, (weights / weights.sum()).astype(np.float32)))
    return tuple(taps)


def _resize_rows(image: NDArray[np.uint8] | NDArray[np.float32], target_size: int) -> NDArray[np.float32]:
    """Resample the first axis of (N, M)."""
    result = np.empty((target_size, image.shape[1]), np.float32)
    for row, (first, weights) in enumerate(_taps(image.shape[0], target_size)):
        np.matmul(weights, image[first : first + weights.size].astype(np.float32, copy=False), out=result[row])
    return result


class NumpyResampler:
    """Separable, in float32, rounded once at the end. Slower than torch's, exact, and always there."""

    name = "numpy"

    def resize(self, image_hwc: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
        source_height, source_width, channels = image_hwc.shape
        rows = _resize_rows(image_hwc.reshape(source_height, -1), height)
        columns = rows.reshape(height, source_width, channels).transpose(1, 0, 2).reshape(source_width, -1)
        resized = _resize_rows(columns, width).reshape(width, height, channels).transpose(1, 0, 2)
        return np.clip(np.rint(resized), 0.0, 255.0).astype(np.uint8)


def _torch_resampler() -> Resampler:
    from gps_denied_inference.core.imaging.resampling_torch import TorchResampler

    return TorchResampler()


RESAMPLERS: Mapping[str, Callable[[], Resampler]] = MappingProxyType(
    {"torch": _torch_resampler, "numpy": NumpyResampler}
)


def choose_resampler() -> Resampler:
    """The fastest resampler of this machine: torch's where torch can be imported, otherwise numpy's.

    They agree within one grey level, so the choice does not change a descriptor's space.
    """
    try:
        return RESAMPLERS["torch"]()
    except RuntimeNotAvailableError:
        return RESAMPLERS["numpy"]()
