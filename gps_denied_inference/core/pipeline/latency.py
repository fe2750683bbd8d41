"""Latency percentiles and rate over a sliding window."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["LatencySummary", "LatencyWindow"]


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """What the window holds. NaN without frames.

    Attributes:
        count: frames in the window.
        rate_hz: frames per second of the window's length.
        p50_ms, p95_ms, p99_ms: percentiles, linear interpolation.
    """

    count: int
    rate_hz: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


class LatencyWindow:
    """Remembers the latencies of the last seconds. Thread-safe.

    Args:
        length_s: of the window, seconds of the steady clock.
        clock: steady clock, nanoseconds.
    """

    def __init__(self, length_s: float = 10.0, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._length_ns = int(length_s * 1e9)
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: deque[tuple[int, float]] = deque(maxlen=10_000)
        self._start_ns = clock()

    def add(self, latency_ms: float) -> None:
        """Remember the latency of a frame that was published just now."""
        with self._lock:
            self._entries.append((self._clock(), latency_ms))

    def summary(self) -> LatencySummary:
        """Return count, rate and percentiles of the frames still in the window."""
        now_ns = self._clock()
        with self._lock:
            while self._entries and now_ns - self._entries[0][0] > self._length_ns:
                self._entries.popleft()
            latencies = [latency for _, latency in self._entries]
            span_s = min(self._length_ns, max(now_ns - self._start_ns, 1)) / 1e9
        if not latencies:
            return LatencySummary(0, float("nan"), float("nan"), float("nan"), float("nan"))
        p50, p95, p99 = (float(value) for value in np.percentile(latencies, [50, 95, 99]))
        return LatencySummary(len(latencies), len(latencies) / span_s, p50, p95, p99)
