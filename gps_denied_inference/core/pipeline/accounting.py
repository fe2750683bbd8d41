"""Exact accounting: received = published + dropped + pending, at every moment."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from gps_denied_inference.core.contracts import DropReason

__all__ = ["FrameCounts", "FrameLedger"]


@dataclass(frozen=True, slots=True)
class FrameCounts:
    """A consistent reading of the ledger.

    Attributes:
        received: frames that came in.
        published: frames whose features went out.
        dropped: frames that did not, by reason; every reason is listed.
        pending: frames that wait or are being worked on.
    """

    received: int
    published: int
    dropped: Mapping[DropReason, int]
    pending: int

    @property
    def dropped_total(self) -> int:
        return sum(self.dropped.values())


class FrameLedger:
    """Counts each frame once on its way in and once on its way out. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received = 0
        self._published = 0
        self._pending = 0
        self._dropped: Counter[DropReason] = Counter()
        self._dropped_since_last: Counter[DropReason] = Counter()

    def receive(self) -> None:
        """Count a frame that came in; it is pending from now on."""
        with self._lock:
            self._received += 1
            self._pending += 1

    def drop(self, reason: DropReason) -> None:
        """Count a pending frame as dropped.

        Raises:
            RuntimeError: no frame is pending: the caller counted one twice.
        """
        with self._lock:
            self._take_pending()
            self._dropped[reason] += 1
            self._dropped_since_last[reason] += 1

    def publish(self) -> None:
        """Count a pending frame as published.

        Raises:
            RuntimeError: no frame is pending: the caller counted one twice.
        """
        with self._lock:
            self._take_pending()
            self._published += 1

    def take_dropped_since_last(self) -> dict[DropReason, int]:
        """Return the drops since the last call, reasons without one left out, and start anew."""
        with self._lock:
            dropped = {reason: self._dropped_since_last[reason] for reason in DropReason}
            self._dropped_since_last.clear()
        return {reason: count for reason, count in dropped.items() if count}

    def return_dropped(self, dropped: Mapping[DropReason, int]) -> None:
        """Take back what `take_dropped_since_last` handed out, for a message that could not be sent."""
        with self._lock:
            self._dropped_since_last.update(dropped)

    def counts(self) -> FrameCounts:
        """Return all counters as they stand at one moment."""
        with self._lock:
            dropped = {reason: self._dropped[reason] for reason in DropReason}
            return FrameCounts(self._received, self._published, dropped, self._pending)

    def _take_pending(self) -> None:
        if self._pending == 0:
            raise RuntimeError("a frame was counted out that had not been counted in")
        self._pending -= 1
