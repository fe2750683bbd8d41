"""Two streams of messages of the same images, brought together by stamp."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["StampPairs", "WaitingItem"]

_First = TypeVar("_First")
_Second = TypeVar("_Second")


@dataclass(frozen=True, slots=True)
class WaitingItem(Generic[_First]):
    """One of the first stream, and when it came (steady clock, nanoseconds)."""

    item: _First
    received_ns: int


class StampPairs(Generic[_First, _Second]):
    """Holds what came until its counterpart comes. Each of the first stream goes out once: paired or let go.

    What is of the second stream stays after it was paired: the same image may be asked about again. Use from one
    thread at a time.

    Args:
        most: of each stream that are held; the oldest give way.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._firsts: OrderedDict[int, WaitingItem[_First]] = OrderedDict()
        self._seconds: OrderedDict[int, _Second] = OrderedDict()
        self._let_go = 0

    def offer_first(self, stamp_ns: int, item: _First, received_ns: int) -> _Second | None:
        """Return its counterpart; or hold it and return None."""
        second = self._seconds.get(stamp_ns)
        if second is None:
            if self._firsts.pop(stamp_ns, None) is not None:
                self._let_go += 1
            self._firsts[stamp_ns] = WaitingItem(item, received_ns)
            while len(self._firsts) > self._most:
                self._firsts.popitem(last=False)
                self._let_go += 1
        return second

    def offer_second(self, stamp_ns: int, item: _Second) -> WaitingItem[_First] | None:
        """Hold it, and return its counterpart when that waits; it waits no more."""
        self._seconds.pop(stamp_ns, None)
        self._seconds[stamp_ns] = item
        while len(self._seconds) > self._most:
            self._seconds.popitem(last=False)
        return self._firsts.pop(stamp_ns, None)

    @property
    def waiting_count(self) -> int:
        """How many of the first stream wait."""
        return len(self._firsts)

    def let_go_before(self, oldest_ns: int) -> None:
        """Let go what came before this time of the steady clock."""
        late = [stamp for stamp, waiting in self._firsts.items() if waiting.received_ns < oldest_ns]
        for stamp in late:
            del self._firsts[stamp]
        self._let_go += len(late)

    def take_let_go(self) -> int:
        """Return how many of the first stream were let go since the last call."""
        count, self._let_go = self._let_go, 0
        return count

    def clear(self) -> int:
        """Forget everything; returns how many of the first stream waited."""
        count = len(self._firsts)
        self._firsts.clear()
        self._seconds.clear()
        return count
