"""Generalised-mean pooling."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["LearntGem", "pool_by_signed_cube"]

_SMALLEST = 1e-6


def pool_by_signed_cube(patches: Tensor) -> Tensor:
    """Cube root of the mean cube, sign kept: GeM of exponent 3 for tokens that may be negative.

    Keetha et al., AnyLoc, RA-L 2023, pool DINOv2 so. Computed in float32: cubes leave the range of FP16.

    Args:
        patches: (N, C, H, W).

    Returns:
        (N, C), float32, L2-normalised.
    """
    mean = patches.float().pow(3).mean(dim=(2, 3))
    # Away from zero, where the root has no slope.
    root = mean.sign() * (mean.abs() + _SMALLEST**3).pow(1.0 / 3.0)
    return functional.normalize(root, dim=1)


class LearntGem(nn.Module):
    """GeM with a learnt exponent, of values that are not negative (Radenović et al., TPAMI 2019, section 3.2)."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(Tensor([3.0]))

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C), float32: small powers leave the range of FP16."""
        exponent = self.p.float()
        pooled: Tensor = features.float().clamp(min=_SMALLEST).pow(exponent).mean(dim=(2, 3)).pow(1.0 / exponent)
        return pooled
