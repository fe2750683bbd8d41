"""Percentiles of durations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Percentiles", "percentiles"]


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Linear interpolation between order statistics; NaN without values. The unit is that of the values."""

    p50: float
    p95: float
    p99: float


def percentiles(values: Sequence[float]) -> Percentiles:
    """Return the median, 95th and 99th percentile."""
    if not len(values):
        return Percentiles(float("nan"), float("nan"), float("nan"))
    p50, p95, p99 = (float(value) for value in np.percentile(np.asarray(values, np.float64), [50, 95, 99]))
    return Percentiles(p50, p95, p99)
