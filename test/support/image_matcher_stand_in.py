"""A network of two images without trained weights that really matches: patches of one, looked for in the other.

A module for the parameter `architecture_modules`; its checkpoint is what `write_checkpoint` writes.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from gps_denied_inference.core.architectures import ArchitectureRegistry
from gps_denied_inference.core.architectures.entries.preprocessing import gray_unit_range
from gps_denied_inference.core.contracts import ArchitectureSpec, OutputKind, TensorSpec

__all__ = ["MODEL", "PatchCorrelation", "register", "write_checkpoint"]

MODEL = "patch_correlation"
_HEIGHT, _WIDTH, _PATCH = 240, 320, 17
_ROWS, _COLUMNS = 9, 12
_LEAST_CORRELATION = 0.8


class PatchCorrelation(nn.Module):
    """A grid of patches of the first image where they correlate best with the second one; turned by a few degrees."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.tensor([_LEAST_CORRELATION]))

    def forward(self, image0: Tensor, image1: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take (1, 1, H, W), gray in 0..1; return points (1, K, 2), points (1, K, 2) and scores (1, K)."""
        top = torch.linspace(0, _HEIGHT - _PATCH, _ROWS).round().long()
        left = torch.linspace(0, _WIDTH - _PATCH, _COLUMNS).round().long()
        tops, lefts = top.repeat_interleave(_COLUMNS), left.repeat(_ROWS)
        windows = image0[0, 0].unfold(0, _PATCH, 1).unfold(1, _PATCH, 1)
        patches = windows[tops, lefts].unsqueeze(1)
        patches = patches - patches.mean(dim=(2, 3), keepdim=True)
        patches = patches / (patches.flatten(1).norm(dim=1)[:, None, None, None] + 1e-3)
        ones = torch.ones(1, 1, _PATCH, _PATCH)
        total = functional.conv2d(image1, ones)
        energy = functional.conv2d(image1 * image1, ones) - total * total / _PATCH**2
        correlation = functional.conv2d(image1, patches) / (energy.clamp_min(0.0).sqrt() + 1e-3)
        scores, best = correlation.flatten(2).max(dim=2)
        width = correlation.shape[3]
        half = (_PATCH - 1) / 2
        points0 = torch.stack((lefts, tops), dim=1).float() + half
        points1 = torch.stack((best[0] % width, torch.div(best[0], width, rounding_mode="floor")), dim=1).float() + half
        kept = (scores > self.threshold).float()
        return points0.unsqueeze(0), points1.unsqueeze(0), scores * kept


SPEC = ArchitectureSpec(
    inputs=tuple(TensorSpec(f"image{side}", (1, 1, _HEIGHT, _WIDTH)) for side in (0, 1)),
    preprocess=gray_unit_range(_HEIGHT, _WIDTH),
    output_kind=OutputKind.CORRESPONDENCES,
    output_names=("points0", "points1", "scores"),
    descriptor_dimension=0,
    is_l2_normalized=False,
    max_keypoints=_ROWS * _COLUMNS,
    weights=None,
    license="Apache-2.0",
    paper="none",
)


def register(registry: ArchitectureRegistry) -> None:
    """Add the network."""
    registry.register(MODEL, f"{__name__}:PatchCorrelation", spec=SPEC)


def write_checkpoint(folder: Path) -> Path:
    path = folder / f"{MODEL}.safetensors"
    save_file(PatchCorrelation().state_dict(), path)
    return path
