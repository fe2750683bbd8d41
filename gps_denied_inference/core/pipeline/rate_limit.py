"""Which frames of a stream to work on, when not all of them."""

from __future__ import annotations

__all__ = ["RateLimit"]

_EARLY = 0.25
"""A frame that is early by up to this share of the period is taken: cameras jitter, and the raster stays."""


class RateLimit:
    """Thins a stream evenly. Over any stretch that begins with an admitted frame the rate stays under the limit.

    Args:
        max_rate_hz: above 0.
    """

    def __init__(self, max_rate_hz: float) -> None:
        self.max_rate_hz = max_rate_hz
        self._period_ns = int(1e9 / max_rate_hz)
        self._due_ns: int | None = None

    def admits(self, received_ns: int) -> bool:
        """Tell whether to work on a frame that was received at this time of the steady clock, ns."""
        due_ns = self._due_ns
        if due_ns is None or not due_ns - self._period_ns * 2 < received_ns < due_ns + self._period_ns:
            # The first frame, one after a pause, or a clock that jumped: the raster starts anew.
            self._due_ns = received_ns + self._period_ns
            return True
        if received_ns < due_ns - self._period_ns * _EARLY:
            return False
        self._due_ns = due_ns + self._period_ns
        return True
