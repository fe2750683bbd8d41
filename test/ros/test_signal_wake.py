"""A signal wakes what waits in C."""

from __future__ import annotations

import os
import signal
import threading
import time
from unittest.mock import Mock

import rclpy
from rclpy.executors import SingleThreadedExecutor

from gps_denied_inference.ros.signal_wake import wake_on_signals


def test_signal_wakes_and_leaves_nothing_behind() -> None:
    former = signal.signal(signal.SIGUSR1, lambda _number, _frame: None)
    woken = threading.Event()
    threads = threading.active_count()
    end = wake_on_signals(Mock(create_task=lambda _task: woken.set()))
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert woken.wait(10.0)
    finally:
        end()
        signal.signal(signal.SIGUSR1, former)
    assert threading.active_count() == threads
    assert signal.set_wakeup_fd(-1) == -1


def test_each_signal_wakes_again() -> None:
    former = signal.signal(signal.SIGUSR1, lambda _number, _frame: None)
    wakes = threading.Semaphore(0)
    end = wake_on_signals(Mock(create_task=lambda _task: wakes.release()))
    try:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGUSR1)
            assert wakes.acquire(timeout=10.0)
    finally:
        end()
        signal.signal(signal.SIGUSR1, former)


def test_executor_that_waits_for_work_returns() -> None:
    former = signal.signal(signal.SIGUSR1, lambda _number, _frame: None)
    context = rclpy.Context()
    rclpy.init(context=context)
    executor = SingleThreadedExecutor(context=context)
    end = wake_on_signals(executor)
    start_s = time.monotonic()
    try:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        executor.spin_once(timeout_sec=60.0)
    finally:
        end()
        executor.shutdown()
        rclpy.shutdown(context=context)
        signal.signal(signal.SIGUSR1, former)
    assert time.monotonic() - start_s < 50.0, "it waited to the end"
