"""From a decoded image to the network's input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import PreprocessSpec
from gps_denied_inference.core.errors import InferenceError, SettingsError
from gps_denied_inference.core.imaging.pixel_transform import PixelTransform, ResizeGeometry, resize_geometry
from gps_denied_inference.core.imaging.resampling import Resampler, choose_resampler

__all__ = ["Preprocessor"]


class Preprocessor:
    """Resizes in 8 bit, then normalises into planar float32.

    The batch that `prepare` returns belongs to the preprocessor: the next call overwrites it, so that no
    frame pays for fresh pages. Copy it to keep it. One instance serves one thread; images may change in size
    from call to call.
    """

    def __init__(self, spec: PreprocessSpec, *, resampler: Resampler | None = None) -> None:
        """Args: spec: of the network. resampler: by default the fastest of this machine.

        Raises:
            SettingsError: the spec is impossible (sizes, number of means, a zero std, a pad value outside
                0..255).
        """
        _check(spec)
        self._spec = spec
        self._resampler = choose_resampler() if resampler is None else resampler
        self._mean = np.array(spec.mean, np.float32)
        self._reciprocal_std = (1.0 / np.array(spec.std, np.float64)).astype(np.float32)
        self._batch = np.empty((1, spec.color.channels, spec.height, spec.width), np.float32)
        self._image_size = (0, 0)
        self._geometry: ResizeGeometry | None = None
        self._transform = PixelTransform(1.0, 1.0)

    @property
    def spec(self) -> PreprocessSpec:
        return self._spec

    @property
    def resampler_name(self) -> str:
        """Which resampler works, for reports."""
        return self._resampler.name

    def prepare(self, image_hwc: NDArray[np.uint8]) -> tuple[NDArray[np.float32], PixelTransform]:
        """Make the network's input.

        Args:
            image_hwc: uint8, shape (H, W, C), as `decode` returns it. Not changed, not kept.

        Returns:
            float32, shape (1, C, height, width), C-contiguous, overwritten by the next call; and where the
            pixels went.

        Raises:
            InferenceError: another dtype, number of dimensions or of channels, or an empty image.
        """
        channels = self._spec.color.channels
        if image_hwc.dtype != np.uint8 or image_hwc.ndim != 3 or image_hwc.shape[2] != channels or not image_hwc.size:
            raise InferenceError(
                f"the preprocessor got an image of shape {image_hwc.shape}, {image_hwc.dtype}; expected "
                f"(height, width, {channels}), uint8, not empty: decode it with color={self._spec.color.name}"
            )
        geometry = self._lay_out(image_hwc.shape[0], image_hwc.shape[1])
        bottom, right = (
            geometry.source_top + geometry.source_height,
            geometry.source_left + geometry.source_width,
        )
        resized = image_hwc[geometry.source_top : bottom, geometry.source_left : right]
        if resized.shape[:2] != (geometry.target_height, geometry.target_width):
            resized = self._resize(resized, geometry.target_height, geometry.target_width)
        self._normalize(resized, geometry)
        return self._batch, self._transform

    def _resize(self, image_hwc: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
        if image_hwc.strides[2] >= 0:
            return self._resampler.resize(image_hwc, height, width)
        # RGB seen in reversed BGR: channels are resampled one by one, so their order can wait.
        return self._resampler.resize(image_hwc[:, :, ::-1], height, width)[:, :, ::-1]

    def _lay_out(self, image_height: int, image_width: int) -> ResizeGeometry:
        if self._geometry is None or self._image_size != (image_height, image_width):
            self._geometry = resize_geometry(image_height, image_width, self._spec)
            self._image_size = (image_height, image_width)
            self._transform = self._geometry.pixel_transform
            border = (np.float32(self._spec.pad_value) - self._mean) * self._reciprocal_std
            self._batch[0] = border[:, np.newaxis, np.newaxis]
        return self._geometry

    def _normalize(self, resized_hwc: NDArray[np.uint8], geometry: ResizeGeometry) -> None:
        bottom, right = (
            geometry.target_top + geometry.target_height,
            geometry.target_left + geometry.target_width,
        )
        for channel in range(self._spec.color.channels):
            plane = self._batch[0, channel, geometry.target_top : bottom, geometry.target_left : right]
            # Splitting first is a quarter faster than converting from interleaved samples.
            samples = np.ascontiguousarray(resized_hwc[:, :, channel])
            np.subtract(samples, self._mean[channel], out=plane)
            np.multiply(plane, self._reciprocal_std[channel], out=plane)


def _check(spec: PreprocessSpec) -> None:
    channels = spec.color.channels
    for field, size in (("height", spec.height), ("width", spec.width)):
        if size < 1:
            raise SettingsError(f"preprocess.{field}", size, "at least 1 pixel")
    for field, values in (("mean", spec.mean), ("std", spec.std)):
        if len(values) != channels or not np.isfinite(values).all():
            raise SettingsError(f"preprocess.{field}", values, f"{channels} finite values, one per channel, in 0..255")
    if min(spec.std) <= 0:
        raise SettingsError("preprocess.std", spec.std, "values above 0, in units of 0..255")
    if not 0 <= spec.pad_value <= 255:
        raise SettingsError("preprocess.pad_value", spec.pad_value, "0..255")
