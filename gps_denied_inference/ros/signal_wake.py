"""Wakes the executor when a signal comes."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable

__all__ = ["wake_on_signals"]


def wake_on_signals(wake: Callable[[], object]) -> Callable[[], None]:
    """Call `wake` whenever a signal with a Python handler comes. For the main thread.

    Python's handlers run when the code of C returns, and the executor's wait is such: without this it has to be left
    several times a second only to look, at a millisecond of processor each.

    Args:
        wake: called on a thread of its own; makes the main thread leave its wait.

    Returns:
        What ends it; call it before what `wake` wakes is destroyed.
    """
    heard, told = socket.socketpair()
    told.setblocking(False)  # set_wakeup_fd wants it

    def listen() -> None:
        while heard.recv(1):
            wake()

    thread = threading.Thread(target=listen, name="signals", daemon=True)
    thread.start()
    former = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)

    def end() -> None:
        signal.set_wakeup_fd(former)
        told.close()
        thread.join()
        heard.close()

    return end
