"""Something done again and again on a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

__all__ = ["Ticker"]

_LOGGER = logging.getLogger("gps_denied_inference.ticker")


class Ticker:
    """Calls at a steady period, by the steady clock, until it is ended.

    A timer of rclpy wakes the executor, which costs a millisecond of processor and three while images flush the caches:
    this costs 0.05 ms. For what is safe on any thread. What the call raises is logged.

    Args:
        name: of the thread.
        period_s: between the end of a call and the next.
        call: what is done.
    """

    def __init__(self, name: str, period_s: float, call: Callable[[], None]) -> None:
        self._period_s = period_s
        self._call = call
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Call no more, and wait for the call in work. Idempotent; on its own thread it does not wait."""
        self._is_over.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while not self._is_over.wait(self._period_s):
            try:
                self._call()
            except Exception:  # one failure must not end the watch
                _LOGGER.exception("%s failed", self._thread.name)
