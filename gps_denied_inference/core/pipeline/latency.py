"""Latency percentiles and rate over a sliding window."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from gps_denied_inference.core.contracts import StageTimings

__all__ = ["LatencySummary", "LatencyWindow"]

_RECENT_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """What the window holds. NaN without frames.

    Attributes:
        count: frames in the window.
        rate_hz: frames per second of the window's length.
        p50_ms, p95_ms, p99_ms, max_ms: percentiles of the total, linear interpolation.
        stages: of each stage by its name in `StageTimings`: p50, p95, p99 and the maximum, milliseconds.
        recent_p95_ms: of the total of the last 2 s alone, so that a judgement ends soon after its cause.
    """

    count: int
    rate_hz: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float = float("nan")
    stages: Mapping[str, tuple[float, float, float, float]] = field(default_factory=dict)
    recent_p95_ms: float = float("nan")


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
        self._entries: deque[tuple[int, StageTimings]] = deque(maxlen=10_000)
        self._start_ns = clock()

    def add(self, timings: StageTimings) -> None:
        """Remember the timings of a frame that was published just now."""
        with self._lock:
            self._entries.append((self._clock(), timings))

    def summary(self) -> LatencySummary:
        """Return count, rate and percentiles of the frames still in the window."""
        now_ns = self._clock()
        with self._lock:
            while self._entries and now_ns - self._entries[0][0] > self._length_ns:
                self._entries.popleft()
            timings = [entry for _, entry in self._entries]
            recent = [entry.total_ms for at_ns, entry in self._entries if now_ns - at_ns <= _RECENT_NS]
            span_s = min(self._length_ns, max(now_ns - self._start_ns, 1)) / 1e9
        if not timings:
            return LatencySummary(0, float("nan"), float("nan"), float("nan"), float("nan"))
        table = np.array([list(entry.as_dict().values()) for entry in timings])
        columns = np.percentile(table, [50, 95, 99, 100], axis=0).T.tolist()
        stages = {
            name: (float(p50), float(p95), float(p99), float(highest))
            for name, (p50, p95, p99, highest) in zip(timings[0].as_dict(), columns, strict=True)
        }
        p50, p95, p99, highest = stages.pop("total_ms")
        recent_p95 = float(np.percentile(recent, 95)) if recent else float("nan")
        return LatencySummary(len(timings), len(timings) / span_s, p50, p95, p99, highest, stages, recent_p95)
