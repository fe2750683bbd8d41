"""From a decoded image to the network's input, on the device: as `imaging.Preprocessor`, to within one grey level."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gps_denied_inference.core.architectures.install_commands import install_command
from gps_denied_inference.core.contracts import PreprocessSpec
from gps_denied_inference.core.imaging import resize_geometry
from gps_denied_inference.core.optional import require

if TYPE_CHECKING:
    import torch

__all__ = ["DevicePreparation"]


class DevicePreparation:
    """Antialiased bilinear resize, rounded to grey levels, then normalisation, for images of one size.

    Args:
        spec: of the network.
        image_height, image_width: of the images.
        is_reversed: their channels lie in reverse.
        device: where it works.
    """

    def __init__(
        self,
        spec: PreprocessSpec,
        image_height: int,
        image_width: int,
        device: torch.device,
        *,
        is_reversed: bool = False,
    ) -> None:
        torch = require("torch", install=install_command("torch"), purpose="the pytorch_fp16 runtime")
        self._resize = torch.nn.functional.interpolate
        self._is_reversed = is_reversed
        self._geometry = resize_geometry(image_height, image_width, spec)
        channels = spec.color.channels
        self._mean = torch.tensor(spec.mean, dtype=torch.float32, device=device).view(1, channels, 1, 1)
        self._reciprocal_std = 1.0 / torch.tensor(spec.std, dtype=torch.float64).to(torch.float32).view(
            1, channels, 1, 1
        ).to(device)
        border = (float(spec.pad_value) - self._mean) * self._reciprocal_std
        self._border = border.expand(1, channels, spec.height, spec.width).contiguous()

    def __call__(self, image_hwc: torch.Tensor) -> torch.Tensor:
        """Args: image_hwc: uint8, (H, W, C). Returns: float32, (1, C, height, width), a new tensor."""
        part = self._geometry
        bottom, right = part.source_top + part.source_height, part.source_left + part.source_width
        samples = image_hwc[part.source_top : bottom, part.source_left : right].permute(2, 0, 1).unsqueeze(0).float()
        size = (part.target_height, part.target_width)
        if samples.shape[2:] != size:
            samples = self._resize(samples, size, mode="bilinear", align_corners=False, antialias=True).round_()
        if self._is_reversed:  # channels are resampled one by one, so their order could wait
            samples = samples.flip(1)
        prepared = (samples - self._mean) * self._reciprocal_std
        if prepared.shape == self._border.shape:
            return prepared
        batch = self._border.clone()
        bottom, right = part.target_top + part.target_height, part.target_left + part.target_width
        batch[:, :, part.target_top : bottom, part.target_left : right] = prepared
        return batch
