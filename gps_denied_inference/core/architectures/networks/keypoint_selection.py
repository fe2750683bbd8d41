"""The best maxima of a score map, as many for every image: shapes don't depend on what is seen."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["gather_rows", "pixels_from_index", "select_maxima"]


def select_maxima(
    score_map: Tensor, *, radius: int, threshold: float, count: int, border: int = 0
) -> tuple[Tensor, Tensor]:
    """Rank the strict maxima of a map in their square window.

    Args:
        score_map: (1, 1, H, W).
        radius: of the window, pixels.
        threshold: a maximum must exceed it.
        count: K, rows to return.
        border: pixels at each edge where nothing is selected; `radius` if that is more, since what lies there is not
            known to be a maximum.

    Returns:
        scores (1, K), descending, and flat pixel indices (1, K); rows without a maximum have a score of -1 and an index
        inside the border, so that what is read around it exists.
    """
    height, width = score_map.shape[-2:]
    padding = max(border, radius)
    inner = score_map[..., padding : height - padding, padding : width - padding]
    window = score_map[..., padding - radius : height - padding + radius, padding - radius : width - padding + radius]
    # Strict: nothing else in the window reaches the centre. Neighbours are compared one by one, as maximum pooling
    # would take the centre too.
    is_maximum = inner > threshold
    size = 2 * radius + 1
    for row in range(size):
        for column in range(size):
            if (row, column) != (radius, radius):
                shifted = window[..., row : row + inner.shape[-2], column : column + inner.shape[-1]]
                is_maximum = is_maximum & (inner > shifted)
    ranked = torch.where(is_maximum, inner, torch.full_like(inner, -1.0)).flatten(1)
    available = min(count, ranked.shape[1])
    scores, index = torch.topk(ranked, available, dim=1)
    inner_width = width - 2 * padding
    rows = torch.div(index, inner_width, rounding_mode="floor")
    index = (rows + padding) * width + index % inner_width + padding
    if available < count:
        scores = functional.pad(scores, (0, count - available), value=-1.0)
        index = functional.pad(index, (0, count - available), value=padding * width + padding)
    return scores, index


def pixels_from_index(index: Tensor, width: int) -> Tensor:
    """Flat indices (1, K) to (x, y), (1, K, 2), float32."""
    return torch.stack((index % width, torch.div(index, width, rounding_mode="floor")), dim=-1).float()


def gather_rows(feature_map: Tensor, index: Tensor) -> Tensor:
    """Read a map (1, C, H, W) at flat indices (1, N): (1, N, C)."""
    channels = feature_map.shape[1]
    gathered = torch.gather(feature_map.flatten(2), 2, index.unsqueeze(1).expand(-1, channels, -1))
    return gathered.transpose(1, 2)
