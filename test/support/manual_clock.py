"""A clock that stands still until it is moved."""

from __future__ import annotations


class ManualClock:
    """Nanoseconds; call it to read."""

    def __init__(self, now_s: float = 100.0) -> None:
        self.now_ns = int(now_s * 1e9)

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)
