"""Task statuses onto /diagnostics: through diagnostic_updater where it is installed, else as the same array."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from gps_denied_inference.core.health import Level, TaskStatus

__all__ = ["DiagnosticsPublisher"]

_LEVELS = {Level.OK: DiagnosticStatus.OK, Level.WARN: DiagnosticStatus.WARN, Level.ERROR: DiagnosticStatus.ERROR}

Updater = Callable[[Sequence[TaskStatus]], None]


class DiagnosticsPublisher:
    """Publishes statuses with fully qualified names (`/namespace/node: task`), so that two nodes don't collide.

    Args:
        node: owns the publisher.
        task_names: every task that `publish` will ever be given.
    """

    def __init__(self, node: Node, task_names: Sequence[str]) -> None:
        self._node = node
        self._name = node.get_fully_qualified_name()
        self._latest: dict[str, TaskStatus] = {}
        self._updater: Any = _fitting_updater(node)
        if self._updater is None:
            self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 1)
            return
        self._updater.node_name = self._name
        self._updater.setHardwareID(self._name)
        for name in task_names:
            self._updater.add(name, lambda wrapper, name=name: self._fill(wrapper, name))

    def publish(self, statuses: Sequence[TaskStatus]) -> None:
        """Publish one array with these statuses."""
        self._latest = {status.name: status for status in statuses}
        if self._updater is not None:
            self._updater.force_update()
            return
        array = DiagnosticArray()
        array.header.stamp = self._node.get_clock().now().to_msg()
        array.status = [
            DiagnosticStatus(
                name=f"{self._name}: {status.name}",
                level=_LEVELS[status.level],
                message=status.message,
                hardware_id=self._name,
                values=[KeyValue(key=key, value=value) for key, value in status.values.items()],
            )
            for status in statuses
        ]
        self._publisher.publish(array)

    def _fill(self, wrapper: Any, name: str) -> Any:
        status = self._latest.get(name, TaskStatus(name, Level.OK, "starting"))
        wrapper.summary(_LEVELS[status.level], status.message)
        for key, value in status.values.items():
            wrapper.add(key, value)
        return wrapper


def _fitting_updater(node: Node) -> Any:
    """Return an updater that publishes only when it is told to; None where none can be had."""
    try:
        module: Any = importlib.import_module("diagnostic_updater")
    except ImportError:
        return None
    updater: Any = module.Updater(node)
    # Its timer runs on the node's clock and stands still with simulated time; we call it from a steady timer.
    updater.timer.cancel()
    # Before 3.2 (Jazzy has 4) it put the node's bare name in front, and could not be told another.
    return updater if hasattr(updater, "node_name") else None
