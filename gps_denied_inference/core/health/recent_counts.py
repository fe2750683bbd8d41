"""What became of the frames of the last seconds."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping

from gps_denied_inference.core.contracts import DropReason
from gps_denied_inference.core.pipeline import FrameCounts

__all__ = ["RecentCounts"]

_NOTHING = FrameCounts(0, 0, dict.fromkeys(DropReason, 0), 0)


def _frames_between(before: FrameCounts, now: FrameCounts) -> FrameCounts:
    """Return what was counted after `before`; `pending` is that of `now`."""
    dropped: Mapping[DropReason, int] = {r: now.dropped[r] - before.dropped[r] for r in DropReason}
    return FrameCounts(now.received - before.received, now.published - before.published, dropped, now.pending)


class RecentCounts:
    """Remembers the readings of the last seconds, so that a judgement does not depend on how often one is made.

    The counters begin at zero with the window; one that falls has begun anew.

    Args:
        length_s: of the window. With fewer readings than one in this time, the last interval is the window.
        clock: steady clock, nanoseconds.
    """

    def __init__(self, length_s: float, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._length_ns = int(length_s * 1e9)
        self._clock = clock
        self._readings: deque[tuple[int, FrameCounts]] = deque([(clock(), _NOTHING)])

    def update(self, counts: FrameCounts) -> FrameCounts:
        """Take a reading and return what was counted within the window before it."""
        now_ns = self._clock()
        if counts.received < self._readings[-1][1].received:
            self._readings.clear()
            self._readings.append((now_ns, _NOTHING))
        # The last reading before the window stays: with it the window is whole.
        while len(self._readings) > 1 and now_ns - self._readings[1][0] >= self._length_ns:
            self._readings.popleft()
        self._readings.append((now_ns, counts))
        return _frames_between(self._readings[0][1], counts)
