"""Work on many images in processes of their own, with one progress for all."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from queue import Empty
from typing import Any, TypeVar

from gps_denied_inference.core.errors import GpsDeniedInferenceError, ReplayError

__all__ = ["count_image", "processes", "run_jobs", "slices"]

_REPORT_EVERY = 16
_POLL_S = 0.2
_Result = TypeVar("_Result")


def processes() -> int:
    """Return how many work side by side: one a core."""
    return min(len(os.sched_getaffinity(0)), 8)


def slices(count: int) -> list[tuple[int, int]]:
    """Cut so many items into as many ranges as there are processes."""
    parts = processes()
    return list(pairwise(count * index // parts for index in range(parts + 1)))


def run_jobs(jobs: Sequence[Callable[[], _Result]], show: Callable[[int], None]) -> list[_Result]:
    """Run jobs in processes with one thread each: at batch 1 two processes do twice the work of one with two threads.

    Args:
        jobs: what can be pickled, the longest first; each calls `count_image` once an image.
        show: called with the number of images so far.

    Returns:
        Their results, in the order of `jobs`.

    Raises:
        GpsDeniedInferenceError: a job raised it.
        ReplayError: a process died.
    """
    context = multiprocessing.get_context("spawn")
    done = context.Queue()
    with (
        _one_thread_a_process(),
        ProcessPoolExecutor(processes(), mp_context=context, initializer=_start, initargs=(done,)) as pool,
    ):
        futures = [pool.submit(_run, job) for job in jobs]
        _follow(futures, done, show)
        return [future.result() for future in futures]


def _follow(futures: Sequence[Future[Any]], done: Any, show: Callable[[int], None]) -> None:
    count = 0
    while not all(future.done() for future in futures):
        try:
            count += done.get(timeout=_POLL_S)
            show(count)
        except Empty:
            pass
        for future in futures:
            error = future.exception() if future.done() else None
            if error is None:
                continue
            for other in futures:
                other.cancel()
            if isinstance(error, GpsDeniedInferenceError):
                raise error
            raise ReplayError(f"a process that describes tiles failed: {error}") from error
    while not done.empty():
        count += done.get()
    show(count)


@contextmanager
def _one_thread_a_process() -> Iterator[None]:
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


# In a worker process.

_done: Any = None
"""Queue to the parent: how many images were worked on since the last entry."""
_uncounted = 0


def count_image() -> None:
    """Tell that one more image is done."""
    global _uncounted
    _uncounted += 1
    if _uncounted == _REPORT_EVERY:
        _flush()


def _flush() -> None:
    global _uncounted
    _done.put(_uncounted)
    _uncounted = 0


def _start(done: Any) -> None:
    # The pool's initializer has no other way to hand something to its process.
    global _done
    _done = done
    # Ctrl-C reaches the whole process group; the parent says what there is to say.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _run(job: Callable[[], _Result]) -> _Result:
    result = job()
    _flush()
    return result
