"""What happens when the network does not return."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import Enum

__all__ = ["HangState", "HangWatchdog"]

_LONGEST_CHECK_GAP_S = 1.0
"""Between two checks; more, and the process stood still (SIGSTOP, a suspended computer), or its executor did."""


class HangState(Enum):
    """How the engine is, as the watchdog sees it."""

    HEALTHY = "healthy"
    RELOADING = "reloading"
    """A call was abandoned, and the engine is being loaded again."""
    GIVEN_UP = "given_up"
    """The process must end, so that a supervisor starts it anew."""


class HangWatchdog:
    """Abandons a call that takes longer than a deadline, has the engine loaded again once, and then gives up.

    A thread inside a network cannot be killed: what hung keeps its memory until it returns or the process ends, so that
    a second time is not tried. A call that holds Python's interpreter lock cannot be seen from here at all.

    Args:
        busy_s: how long the present call has been going on, seconds.
        deadline_s: how long it may; read at each check, 0 for ever.
        abandon: gives the call up; False when it returned in the last moment.
        reload: loads the engine again and puts it in the place of the hung one. Called on a thread of its own.
        on_hang: told of the first hang, in a sentence.
        on_recovery: told that the engine is back; called on the reloading thread.
        give_up: told why the process must end, in a sentence; called once, on whichever thread.
        reload_timeout_s: longer than this, and loading has hung, too.
        clock: steady clock, nanoseconds.
    """

    def __init__(
        self,
        *,
        busy_s: Callable[[], float],
        deadline_s: Callable[[], float],
        abandon: Callable[[], bool],
        reload: Callable[[], None],
        on_hang: Callable[[str], None],
        on_recovery: Callable[[], None],
        give_up: Callable[[str], None],
        reload_timeout_s: float = 60.0,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._busy_s = busy_s
        self._deadline_s = deadline_s
        self._abandon = abandon
        self._reload = reload
        self._on_hang = on_hang
        self._on_recovery = on_recovery
        self._give_up = give_up
        self._reload_timeout_s = reload_timeout_s
        self._clock = clock
        self._lock = threading.Lock()
        self._checked_ns = clock()
        self._awake_since_ns: int | None = None
        self._state = HangState.HEALTHY
        self._reload_began_ns = 0
        self._reloads = 0
        self._complaint = ""

    @property
    def state(self) -> HangState:
        return self._state

    @property
    def reloads(self) -> int:
        """How often the engine was loaded again."""
        return self._reloads

    @property
    def complaint(self) -> str:
        """What is wrong now; empty while the engine is healthy."""
        return self._complaint

    def check(self) -> None:
        """Look at the network once; never blocks. Call it several times a second, from one thread.

        After a gap between two checks the present call is given the whole deadline again: the process stood still, and
        the network with it.
        """
        now_ns = self._clock()
        if (now_ns - self._checked_ns) / 1e9 > _LONGEST_CHECK_GAP_S:
            self._awake_since_ns = now_ns
        self._checked_ns = now_ns
        with self._lock:
            state = self._state
        if state is HangState.RELOADING:
            if (self._clock() - self._reload_began_ns) / 1e9 > self._reload_timeout_s:
                self._end(f"loading the engine again has not ended after {self._reload_timeout_s:g} s")
            return
        deadline_s, busy_s = self._deadline_s(), self._busy_s()
        if self._awake_since_ns is not None:
            busy_s = min(busy_s, (now_ns - self._awake_since_ns) / 1e9)
        if state is HangState.GIVEN_UP or deadline_s <= 0.0 or busy_s <= deadline_s or not self._abandon():
            return
        hang = f"the network has not returned for {busy_s * 1e3:.0f} ms (infer_deadline_ms is {deadline_s * 1e3:g})"
        if self._reloads:
            self._end(f"{hang}, and the engine was loaded again once already")
            return
        with self._lock:
            self._state = HangState.RELOADING
            self._reload_began_ns = self._clock()
            self._complaint = f"{hang}; its call was abandoned and the engine is being loaded again"
        self._on_hang(self._complaint)
        threading.Thread(target=self._load_again, name="reload", daemon=True).start()

    def _load_again(self) -> None:
        try:
            self._reload()
        except Exception as error:  # whatever a backend throws: without an engine there is nothing left to do here
            self._end(f"the engine hung and could not be loaded again ({error})")
            return
        with self._lock:
            if self._state is not HangState.RELOADING:
                return
            self._state = HangState.HEALTHY
            self._reloads += 1
            self._complaint = ""
        self._on_recovery()

    def _end(self, reason: str) -> None:
        with self._lock:
            if self._state is HangState.GIVEN_UP:
                return
            self._state = HangState.GIVEN_UP
            self._complaint = f"{reason}; the process ends, so that its supervisor starts it anew"
        self._give_up(self._complaint)
