"""A hang is told in a report, however soon the engine is back."""

import threading
from collections.abc import Callable
from types import SimpleNamespace
from unittest.mock import MagicMock

from node_harness import wait_for

from gps_denied_inference.ros.engine_recovery import EngineRecovery


def test_hang_is_in_one_report_though_the_engine_is_back_before_it() -> None:
    tasks: list[Callable[[], None]] = []  # of an executor that has something else to do
    node = SimpleNamespace(executor=SimpleNamespace(create_task=tasks.append), get_logger=MagicMock())
    is_hung = threading.Event()
    is_hung.set()
    reports: list[str] = []

    def abandon() -> bool:
        is_hung.clear()
        return True

    recovery = EngineRecovery(
        node,  # no more of a node is used
        busy_s=lambda: 3.0 if is_hung.is_set() else 0.0,
        deadline_s=lambda: 2.0,
        abandon=abandon,
        reload=lambda: None,
        report=lambda: reports.append(recovery.complaint),
        give_up=lambda _reason: None,
    )
    try:
        wait_for(lambda: recovery.reloads == 1, "the engine being back")
        assert "has not returned for 3000 ms" in recovery.complaint
        (task,) = tasks
        task()
        assert len(reports) == 1 and "has not returned for 3000 ms" in reports[0]
        assert not recovery.complaint
    finally:
        recovery.end()
