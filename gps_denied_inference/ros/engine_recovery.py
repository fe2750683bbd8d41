"""The node's answer to a network that does not return: load the engine again once, then end the process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node

from gps_denied_inference.core.pipeline import HangWatchdog
from gps_denied_inference.ros.ticker import Ticker

__all__ = ["EngineRecovery"]

_CHECKS_HZ = 10.0


class EngineRecovery:
    """Watches from configure to cleanup, on the steady clock and a thread of its own.

    Args:
        node: owns the log; its executor makes the reports.
        busy_s: how long the present call to the network has been going on, seconds.
        deadline_s: how long it may, seconds; 0 for ever.
        abandon: gives that call up; False when there is none. Called on the watching thread.
        reload: loads the engine again and puts it in place; called on a thread of its own.
        report: publishes the node's reports at once; called on the executor's thread.
        give_up: told why the process must end; called once.
    """

    def __init__(
        self,
        node: Node,
        *,
        busy_s: Callable[[], float],
        deadline_s: Callable[[], float],
        abandon: Callable[[], bool],
        reload: Callable[[], None],
        report: Callable[[], None],
        give_up: Callable[[str], None],
    ) -> None:
        self._node = node
        self._report = report
        self._untold = ""
        self._end_process = give_up
        self._watchdog = HangWatchdog(
            busy_s=busy_s,
            deadline_s=deadline_s,
            abandon=abandon,
            reload=reload,
            on_hang=self._tell_hang,
            on_recovery=lambda: node.get_logger().warning("the engine that hung was loaded again and works"),
            give_up=self._give_up,
        )
        self._ticker = Ticker("watchdog", 1.0 / _CHECKS_HZ, self._watchdog.check)

    @property
    def complaint(self) -> str:
        """What is wrong with the engine; empty while it answers, and one report has told what was wrong.

        A small engine is loaded again before a busy executor makes the next report: nobody would hear of it.
        """
        return self._watchdog.complaint or self._untold

    @property
    def reloads(self) -> int:
        """How often the engine was loaded again since configure."""
        return self._watchdog.reloads

    def end(self) -> None:
        """Watch no more."""
        self._ticker.end()

    def _tell_hang(self, complaint: str) -> None:
        self._node.get_logger().error(complaint)
        executor: Any = self._node.executor
        if executor is not None:
            self._untold = complaint
            executor.create_task(self._tell)

    def _tell(self) -> None:
        self._report()
        self._untold = ""

    def _give_up(self, reason: str) -> None:
        self._node.get_logger().fatal(reason)
        self._end_process(reason)
