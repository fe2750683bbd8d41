"""How well places are recognised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["RetrievalScore", "heading_octants", "position_errors_m", "score_retrieval", "self_similarity"]


@dataclass(frozen=True, slots=True)
class RetrievalScore:
    """Score of the best tile of each frame.

    Attributes:
        frames: that were scored.
        within_m: a frame counts as recalled when its best tile's centre is at most this far from the truth.
        recall_at_1: share of recalled frames, 0..1; NaN without frames.
        median_error_m: distance between the best tile's centre and the truth, metres; NaN without frames.
    """

    frames: int
    within_m: float
    recall_at_1: float
    median_error_m: float


def position_errors_m(
    retrieved_m: Sequence[tuple[float, float]], true_m: Sequence[tuple[float, float]]
) -> NDArray[np.float64]:
    """Return the horizontal distances of corresponding positions, shape (N,), metres."""
    difference = np.asarray(retrieved_m, np.float64).reshape(-1, 2) - np.asarray(true_m, np.float64).reshape(-1, 2)
    return np.hypot(difference[:, 0], difference[:, 1])


def score_retrieval(errors_m: NDArray[np.float64], within_m: float) -> RetrievalScore:
    """Score frames by the errors of their best tiles.

    Args:
        errors_m: shape (N,).
        within_m: bound of a recalled frame, inclusive.
    """
    if errors_m.size == 0:
        return RetrievalScore(0, within_m, float("nan"), float("nan"))
    return RetrievalScore(
        int(errors_m.size), within_m, float(np.mean(errors_m <= within_m)), float(np.median(errors_m))
    )


def self_similarity(descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the cosines between all pairs of rows of (N, D), shape (N, N)."""
    lengths = np.linalg.norm(descriptors, axis=1, keepdims=True)
    unit = descriptors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return np.asarray(unit @ unit.T, np.float32)


def heading_octants(headings_deg: Sequence[float]) -> int:
    """Return how many of the eight octants of the compass occur."""
    return len({int(heading % 360.0 // 45.0) for heading in headings_deg})
