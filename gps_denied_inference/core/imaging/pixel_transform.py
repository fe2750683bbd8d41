"""Where the pixels of the original image lie in the network's input, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import PreprocessSpec, ResizeMode

__all__ = ["PixelTransform", "ResizeGeometry", "resize_geometry"]


@dataclass(frozen=True, slots=True)
class PixelTransform:
    """Continuous map between two pixel grids, per axis: `network = (original + 0.5) * scale - 0.5 + offset`.

    Points are (x, y), pixel centres at integers: the centre of the top left pixel is (0, 0), its corner
    (-0.5, -0.5). The scales are those of the rounded sizes that were really resampled, so the map is exact,
    not nominal.

    Attributes:
        scale_x, scale_y: network pixels per original pixel, > 0.
        offset_x_px, offset_y_px: network pixels; positive for a letterbox border, negative for a crop.
    """

    scale_x: float
    scale_y: float
    offset_x_px: float = 0.0
    offset_y_px: float = 0.0

    def network_from_original(self, points_px: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map points (N, 2) of the original image to the network's input; float64, a new array."""
        return (np.asarray(points_px, np.float64) + 0.5) * self._scale() - 0.5 + self._offset()

    def original_from_network(self, points_px: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map points (N, 2) of the network's input to the original image; float64, a new array."""
        return (np.asarray(points_px, np.float64) + 0.5 - self._offset()) / self._scale() - 0.5

    def _scale(self) -> NDArray[np.float64]:
        return np.array((self.scale_x, self.scale_y), np.float64)

    def _offset(self) -> NDArray[np.float64]:
        return np.array((self.offset_x_px, self.offset_y_px), np.float64)


@dataclass(frozen=True, slots=True)
class ResizeGeometry:
    """Which rectangle of the image is resampled, and which rectangle of the network's input it fills.

    Both in whole pixels.

    Attributes:
        source_top, source_left, source_height, source_width: in the original image.
        target_top, target_left, target_height, target_width: in the network's input.
    """

    source_top: int
    source_left: int
    source_height: int
    source_width: int
    target_top: int
    target_left: int
    target_height: int
    target_width: int

    @property
    def pixel_transform(self) -> PixelTransform:
        scale_x = self.target_width / self.source_width
        scale_y = self.target_height / self.source_height
        return PixelTransform(
            scale_x=scale_x,
            scale_y=scale_y,
            offset_x_px=self.target_left - self.source_left * scale_x,
            offset_y_px=self.target_top - self.source_top * scale_y,
        )


def resize_geometry(image_height: int, image_width: int, spec: PreprocessSpec) -> ResizeGeometry:
    """Lay out an image of this size for the network.

    Stretch uses all of both. Letterbox fits the whole image, centred. Crop takes the largest centred
    rectangle of the network's aspect ratio; it is cut before resampling, which touches fewer pixels than
    cutting after. Sizes are rounded to whole pixels, so the two scales of letterbox and crop may differ by
    half a pixel over the image.
    """
    height, width = spec.height, spec.width
    if spec.resize_mode is ResizeMode.LETTERBOX:
        scale = min(height / image_height, width / image_width)
        target_height = min(height, max(1, round(image_height * scale)))
        target_width = min(width, max(1, round(image_width * scale)))
        top, left = (height - target_height) // 2, (width - target_width) // 2
        return ResizeGeometry(0, 0, image_height, image_width, top, left, target_height, target_width)
    if spec.resize_mode is ResizeMode.CROP:
        scale = max(height / image_height, width / image_width)
        source_height = min(image_height, max(1, round(height / scale)))
        source_width = min(image_width, max(1, round(width / scale)))
        top, left = (image_height - source_height) // 2, (image_width - source_width) // 2
        return ResizeGeometry(top, left, source_height, source_width, 0, 0, height, width)
    return ResizeGeometry(0, 0, image_height, image_width, 0, 0, height, width)
