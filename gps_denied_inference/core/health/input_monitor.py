"""Watches the images as they come: rate, jitter, and what a camera should not do."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np

__all__ = ["InputAnomaly", "InputMonitor", "InputPace"]

_WINDOW_S = 10.0
_MOST_ENTRIES = 10_000
_FEWEST_STAMPS = 10
# Even where most images are lost the shortest intervals are the camera's own period; the very shortest are its jitter.
_PERIOD_PERCENTILE = 10


class InputAnomaly(Enum):
    """What is worth a warning while it is recent."""

    SIZE_CHANGED = "size_changed"
    ENCODING_CHANGED = "encoding_changed"
    STAMP_BACKWARD = "stamp_backward"
    STAMP_IN_FUTURE = "stamp_in_future"


@dataclass(frozen=True, slots=True)
class InputPace:
    """Figures of the last seconds.

    Attributes:
        rate_hz: images a second; NaN before two images came.
        jitter_ms: 95th percentile of how far the intervals between images are from their median; NaN before three.
        recent: how often each anomaly was met in the last seconds.
        total: since the monitor began.
        missing: images of the last seconds that were sent and did not come, by the gaps between the stamps.
        received: images of the last seconds.
    """

    rate_hz: float
    jitter_ms: float
    recent: dict[InputAnomaly, int]
    total: dict[InputAnomaly, int]
    missing: int = 0
    received: int = 0


class InputMonitor:
    """Notes each image and remembers the last seconds. Used from one thread.

    Args:
        window_s: how long something is recent, seconds.
        future_tolerance_ms: how far ahead of the node's clock a stamp may be, milliseconds.
        clock: steady clock, nanoseconds.
    """

    def __init__(
        self,
        window_s: float = _WINDOW_S,
        *,
        future_tolerance_ms: Callable[[], float] = lambda: 50.0,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._window_ns = int(window_s * 1e9)
        self._future_tolerance_ms = future_tolerance_ms
        self._clock = clock
        self._arrivals: deque[int] = deque(maxlen=_MOST_ENTRIES)
        self._stamps: deque[int] = deque(maxlen=_MOST_ENTRIES)  # of the same images
        self._anomalies: deque[tuple[int, InputAnomaly]] = deque(maxlen=_MOST_ENTRIES)
        self._total = dict.fromkeys(InputAnomaly, 0)
        self._kind: tuple[str, str] | None = None
        self._stamp_ns: int | None = None

    def note(self, received_ns: int, stamp_ns: int, stamp_age_ms: float, *, encoding: str, size: str) -> None:
        """Take down an image.

        Args:
            received_ns: steady clock of its reception.
            stamp_ns: its stamp.
            stamp_age_ms: how old the stamp was by the node's clock; negative when it lies ahead.
            encoding: as the message says.
            size: as `WIDTHxHEIGHT`; empty where the message does not say.
        """
        self._arrivals.append(received_ns)
        self._stamps.append(stamp_ns)
        if self._kind is not None:
            self._count(InputAnomaly.ENCODING_CHANGED, encoding != self._kind[0], received_ns)
            self._count(InputAnomaly.SIZE_CHANGED, size != self._kind[1], received_ns)
        if self._stamp_ns is not None:
            self._count(InputAnomaly.STAMP_BACKWARD, stamp_ns < self._stamp_ns, received_ns)
        self._count(InputAnomaly.STAMP_IN_FUTURE, -stamp_age_ms > self._future_tolerance_ms(), received_ns)
        self._kind, self._stamp_ns = (encoding, size), stamp_ns

    def forget_stamp(self) -> None:
        """Expect stamps of another time: a bag was looped, a simulation restarted."""
        self._stamp_ns = None

    def pace(self) -> InputPace:
        """Return the figures of the last seconds."""
        oldest_ns = self._clock() - self._window_ns
        while self._arrivals and self._arrivals[0] < oldest_ns:
            self._arrivals.popleft()
            self._stamps.popleft()
        while self._anomalies and self._anomalies[0][0] < oldest_ns:
            self._anomalies.popleft()
        recent = dict.fromkeys(InputAnomaly, 0)
        for _, anomaly in self._anomalies:
            recent[anomaly] += 1
        intervals_ms = np.diff(np.fromiter(self._arrivals, np.int64)) / 1e6
        rate_hz = 1e3 / float(intervals_ms.mean()) if intervals_ms.size and intervals_ms.mean() > 0 else float("nan")
        jitter_ms = float("nan")
        if intervals_ms.size > 1:
            jitter_ms = float(np.percentile(np.abs(intervals_ms - np.median(intervals_ms)), 95))
        return InputPace(rate_hz, jitter_ms, recent, dict(self._total), _missing(self._stamps), len(self._stamps))

    def _count(self, anomaly: InputAnomaly, is_met: bool, received_ns: int) -> None:
        if is_met:
            self._total[anomaly] += 1
            self._anomalies.append((received_ns, anomaly))


def _missing(stamps_ns: deque[int]) -> int:
    """How many images are missing between those that came, of a camera with a steady period."""
    intervals = np.diff(np.fromiter(stamps_ns, np.int64)).astype(np.float64)
    intervals = intervals[intervals > 0]
    if intervals.size < _FEWEST_STAMPS - 1:
        return 0
    period = float(np.percentile(intervals, _PERIOD_PERCENTILE))
    return int((np.rint(intervals / period) - 1).clip(0).sum())
