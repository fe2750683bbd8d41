"""How well places are recognised when several candidates count, and by what was wrong with the query."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["RANKS", "PlaceRecall", "score_places"]

RANKS = (1, 5, 10)


@dataclass(frozen=True, slots=True)
class PlaceRecall:
    """Figures of merit of some queries; NaN without queries.

    Attributes:
        queries: how many.
        recall: share of queries with a candidate within the bound among the first 1, 5 and 10, 0..1.
        median_error_m: of the first candidates.
    """

    queries: int
    recall: tuple[float, float, float]
    median_error_m: float


def score_places(ranked_errors_m: NDArray[np.float64], within_m: float) -> PlaceRecall:
    """Score queries by the distances of their candidates from the truth.

    Args:
        ranked_errors_m: (Q, K), metres, best candidate first; with fewer than 10 candidates all of them count.
        within_m: bound of a recalled query, inclusive.
    """
    if ranked_errors_m.shape[0] == 0:
        return PlaceRecall(0, (math.nan, math.nan, math.nan), math.nan)
    is_near = ranked_errors_m <= within_m
    recall = [float(is_near[:, :rank].any(axis=1).mean()) for rank in RANKS]
    return PlaceRecall(
        ranked_errors_m.shape[0], (recall[0], recall[1], recall[2]), float(np.median(ranked_errors_m[:, 0]))
    )
