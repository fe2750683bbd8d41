"""Figures of merit, and the report that shows them."""

from gps_denied_inference.core.evaluation.accounting import ReplayAccounting
from gps_denied_inference.core.evaluation.percentiles import Percentiles, percentiles
from gps_denied_inference.core.evaluation.retrieval import (
    RetrievalScore,
    heading_octants,
    position_errors_m,
    score_retrieval,
    self_similarity,
)

__all__ = [
    "Percentiles",
    "ReplayAccounting",
    "RetrievalScore",
    "heading_octants",
    "percentiles",
    "position_errors_m",
    "score_retrieval",
    "self_similarity",
]
