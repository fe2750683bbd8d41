"""Engines that share a device: one works at a time, the most urgent one first."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Turn", "Turns"]


class Turn:
    """The right to use the device. Giving it back again does nothing."""

    def __init__(self, give_back: Callable[[Turn], None]) -> None:
        self._give_back = give_back

    def give_back(self) -> None:
        self._give_back(self)


class Turns:
    """Grants turns by priority, and in the order of asking among equals; a turn that was granted is never cut short.

    Two networks that run at once on one small GPU, or on the same cores, each take about as long as both one after the
    other. In turns the urgent one waits for the rest of one pass at most. It is served first whenever both wait: an
    overloaded one leaves nothing for the others unless its rate is limited.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._holder: Turn | None = None
        self._waiting: dict[object, tuple[int, int]] = {}
        """Who asks: the priority with its sign turned, and the order of asking."""
        self._announced: dict[object, int] = {}
        self._asked = 0

    def announce(self, who: object, priority: int) -> None:
        """Say that `who` will ask at once: until then nobody of a lower priority is granted a turn.

        A thread that has been given work takes a moment to wake, in which another one would be first. One that asks
        already goes on waiting, with this priority.
        """
        with self._condition:
            if who in self._waiting:
                self._waiting[who] = (-priority, self._waiting[who][1])
                self._condition.notify_all()
            else:
                self._announced[who] = priority

    def withdraw(self, who: object) -> None:
        """Take back what was announced, if anything was."""
        with self._condition:
            if self._announced.pop(who, None) is not None:
                self._condition.notify_all()

    def take(self, priority: int, is_wanted: Callable[[], bool], who: object = None) -> Turn | None:
        """Wait for a turn.

        Args:
            priority: the higher, the sooner.
            who: whose announcement this fulfils; may not wait twice.
            is_wanted: looked at whenever something changes (`wake`); once false, waiting ends.

        Returns:
            None when it is not wanted any more.
        """
        with self._condition:
            self._asked += 1
            asking = object() if who is None else who
            self._announced.pop(who, None)
            self._waiting[asking] = (-priority, self._asked)
            try:
                self._condition.wait_for(lambda: not is_wanted() or self._is_next(asking))
                if not is_wanted():
                    return None
                self._holder = Turn(self._take_back)
                return self._holder
            finally:
                del self._waiting[asking]
                self._condition.notify_all()

    def wake(self) -> None:
        """Let those that wait look whether they still want their turn."""
        with self._condition:
            self._condition.notify_all()

    def _is_next(self, asking: object) -> bool:
        mine = self._waiting[asking]
        if self._holder is not None or min(self._waiting.values()) != mine:
            return False
        return all(priority <= -mine[0] for priority in self._announced.values())

    def _take_back(self, turn: Turn) -> None:
        with self._condition:
            if self._holder is turn:
                self._holder = None
                self._condition.notify_all()
