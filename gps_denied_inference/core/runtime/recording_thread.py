"""The thread of this process on which networks are set up for a GPU and recorded."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

__all__ = ["on_recording_thread"]

_Made = TypeVar("_Made")

_WORK: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
_START = threading.Lock()
_thread: threading.Thread | None = None


def on_recording_thread(work: Callable[[], _Made]) -> _Made:
    """Do something on the thread that recorded before, and wait for it.

    cuDNN keeps its handle and its choice of algorithms per thread: what calls a network for the first time there pays
    for both. With EfficientNet-Lite0 a worker's first image took 1.5 s on an H200 when the worker recorded it itself,
    though another thread had warmed the network before; replaying needs neither.

    Raises:
        Exception: what `work` raised.
    """
    global _thread
    if threading.current_thread() is _thread:
        return work()
    done: Future[_Made] = Future()
    _WORK.put((work, done))
    with _START:
        if _thread is None:
            # A daemon: a device that hangs must not keep the process from ending.
            _thread = threading.Thread(target=_work, name="recording", daemon=True)
            _thread.start()
    try:
        return done.result()
    finally:
        del done, work  # an error holds this frame, and would hold itself and all that lies on the device


def _work() -> None:
    while True:
        work, done = _WORK.get()
        made, error = _outcome(work)
        del work  # before anybody is told: what failed for want of memory must be gone then
        if error is None:
            done.set_result(made)
        else:
            done.set_exception(error)
        del made, error, done


def _outcome(work: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return work(), None
    except BaseException as error:
        return None, error
