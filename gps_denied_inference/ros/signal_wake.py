"""Wakes the executor when a signal comes."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["wake_on_signals"]


def wake_on_signals(executor: Any) -> Callable[[], None]:
    """Let `spin_once` return whenever a signal with a Python handler comes. For the main thread.

    Python's handlers run when the code of C returns, and the executor's wait is such: without this it has to be left
    several times a second only to look, at a millisecond of processor each. It gets a task to run: after `wake()` alone
    `spin_once` goes on waiting for one.

    Args:
        executor: of rclpy, which the main thread spins.

    Returns:
        What ends it; call it before the executor is shut down.
    """
    heard, told = socket.socketpair()
    told.setblocking(False)  # set_wakeup_fd wants it

    def listen() -> None:
        while heard.recv(1):
            executor.create_task(_nothing)

    thread = threading.Thread(target=listen, name="signals", daemon=True)
    thread.start()
    former = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)

    def end() -> None:
        signal.set_wakeup_fd(former)
        told.close()
        thread.join()
        heard.close()

    return end


def _nothing() -> None:
    """The task."""
