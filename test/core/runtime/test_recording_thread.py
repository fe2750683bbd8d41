"""What is recorded for a GPU is recorded on one thread, whoever asks for it."""

from __future__ import annotations

import gc
import threading
import traceback
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from gps_denied_inference.core.errors import OutOfMemoryError
from gps_denied_inference.core.runtime.recording_thread import on_recording_thread


def test_every_thread_gets_its_own_results_from_the_same_thread() -> None:
    def ask(number: int) -> tuple[int, threading.Thread]:
        return on_recording_thread(lambda: (number, threading.current_thread()))

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(200)))
    assert [number for number, _ in answers] == list(range(200))
    assert len({thread for _, thread in answers}) == 1
    assert answers[0][1] is not threading.current_thread() and answers[0][1].daemon


def test_error_is_that_of_the_work_and_the_thread_goes_on() -> None:
    def fail() -> None:
        raise OutOfMemoryError("no memory left")

    for _ in range(2):
        with pytest.raises(OutOfMemoryError, match="no memory left"):
            on_recording_thread(fail)
    assert on_recording_thread(lambda: 3) == 3


def test_what_failed_is_let_go_before_the_caller_hears_of_it() -> None:
    gc.collect()
    gc.disable()
    try:
        for _ in range(300):
            tensor = np.zeros(4)
            is_alive = weakref.ref(tensor)
            _fail_with(tensor)
            del tensor
            assert is_alive() is None
    finally:
        gc.enable()


def _fail_with(tensor: NDArray[np.float64]) -> None:
    def fail() -> None:
        raise OutOfMemoryError(f"no memory left for {tensor}")

    try:
        on_recording_thread(fail)
    except OutOfMemoryError as error:
        traceback.clear_frames(error.__traceback__)


def test_work_may_ask_for_work() -> None:
    assert on_recording_thread(lambda: on_recording_thread(threading.current_thread)) is on_recording_thread(
        threading.current_thread
    )
