"""What the inference node tells: diagnostics, thermal_state and, through `EngineReports`, of each engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rclpy.clock import Clock, ClockType

import gps_denied_inference.msg as messages
from gps_denied_inference.core.contracts import ThermalState
from gps_denied_inference.core.health import (
    InputReading,
    Level,
    MemoryMonitor,
    MemoryReading,
    TaskStatus,
    ThermalReading,
    input_status,
    memory_status,
    node_status,
    thermal_status,
)
from gps_denied_inference.core.interface import thermal_state_message
from gps_denied_inference.core.pipeline import ModelIdentity
from gps_denied_inference.ros.diagnostics import DiagnosticsPublisher
from gps_denied_inference.ros.engine_reports import ENGINE_TASKS, EngineReports
from gps_denied_inference.ros.guarded_lifecycle_node import GuardedLifecycleNode
from gps_denied_inference.ros.hosted_engine import EngineReading
from gps_denied_inference.ros.message_factory import RclpyMessageFactory
from gps_denied_inference.ros.parameters import NodeParameters
from gps_denied_inference.ros.qos import LATCHED
from gps_denied_inference.ros.thresholds import input_limits, memory_limits, thermal_limits
from gps_denied_inference.ros.ticker import Ticker

__all__ = ["TASKS", "NodeReading", "NodeReports"]

_SHARED_TASKS = ("input", "memory", "thermal", "node")

TASKS = (*ENGINE_TASKS, *_SHARED_TASKS)
"""Of a node with one engine."""


@dataclass(frozen=True, slots=True)
class NodeReading:
    """All that a report is made from, read at one moment.

    Attributes:
        configure_error: why the last configure failed; empty when it did not.
        engines: by name.
        camera: what the reception knows; None while nothing is subscribed.
        gpu_reserved_bytes: of all engines, by the memory budget.
    """

    configure_error: str
    engines: Mapping[str, EngineReading]
    camera: InputReading | None
    gpu_reserved_bytes: int


class NodeReports:
    """Publishes the reports of an inference node, on its executor's thread unless a method says otherwise.

    Args:
        node: owns the publishers and the timers.
        parameters: rates, limits and levels.
        factory: of messages.
        engines: name and topic prefix of each engine; the tasks of the first one carry no name.
        read: tells how the node is now; called for each report.
        thermal: tells the latest thermal state without waiting.
        before_report: called first at each tick, for parameters that take effect while the node runs.
    """

    def __init__(
        self,
        node: GuardedLifecycleNode,
        parameters: NodeParameters,
        factory: RclpyMessageFactory,
        *,
        engines: Mapping[str, str],
        read: Callable[[], NodeReading],
        thermal: Callable[[], ThermalReading],
        before_report: Callable[[], None],
    ) -> None:
        self._node = node
        self._parameters = parameters
        self._factory = factory
        self._read = read
        self._thermal = thermal
        self._before_report = before_report
        # Neither heat nor a stalled camera waits for simulated time.
        self._steady_clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._memory = MemoryMonitor()
        self._thermal_ticker: Ticker | None = None
        self._thermal_publisher = node.create_publisher(messages.ThermalState, "thermal_state", LATCHED)
        self._engines = {
            name: EngineReports(node, parameters, factory, topic_prefix=prefix, label=name if index else "")
            for index, (name, prefix) in enumerate(engines.items())
        }
        of_engines = (task for reports in self._engines.values() for task in reports.task_names)
        self._diagnostics = DiagnosticsPublisher(node, (*of_engines, *_SHARED_TASKS))
        self._report_timer: Any = None
        self._create_report_timer()

    def begin(self, models: Mapping[str, tuple[ModelIdentity, str]], thermal_poll_hz: float) -> None:
        """Report a node that has just been configured: its counters start anew.

        Args:
            models: what each engine runs, with the runtime that the settings ask for.
        """
        self._memory.forget()
        for name, (model, requested_runtime) in models.items():
            self._engines[name].begin(model, requested_runtime)
        self._create_report_timer()
        self.publish_thermal_state()
        self._thermal_ticker = Ticker("thermal-state", 1.0 / thermal_poll_hz, self.publish_thermal_state)

    def end(self) -> None:
        """Take back what was said of a configured node; /diagnostics and engine_health go on. Idempotent."""
        if self._thermal_ticker is not None:
            self._thermal_ticker.end()
            self._thermal_ticker = None
        for reports in self._engines.values():
            reports.end()

    def publish_model_info(self, name: str, model: ModelIdentity, requested_runtime: str) -> None:
        """Publish what an engine runs now, while the node is configured; from any thread."""
        self._engines[name].publish_model_info(model, requested_runtime)

    def publish_thermal_state(self, state: ThermalState | None = None) -> None:
        """Publish this state, or the latest, from any thread: the polling one tells of each flip."""
        present = self._thermal().state if state is None else state
        self._thermal_publisher.publish(thermal_state_message(self._factory, present, stamp_ns=self._now_ns()))

    def publish(self) -> None:
        """Publish /diagnostics and engine_health as things stand; the timer does it regularly."""
        self._before_report()
        reading = self._read()
        memory = self._memory.read(reading.gpu_reserved_bytes)
        shared = self._shared_statuses(reading, memory)
        statuses: list[TaskStatus] = []
        for name, engine in reading.engines.items():
            reports = self._engines[name]
            reports.follow_camera_id(engine.model, engine.requested_runtime)
            own = reports.statuses(engine, reading.configure_error)
            reports.publish_health(engine, [*own, *shared], reading.camera, memory)
            statuses += own
        self._diagnostics.publish([*statuses, *shared])

    def _create_report_timer(self) -> None:
        if self._report_timer is not None:
            self._node.destroy_timer(self._report_timer)
        period_s = 1.0 / self._parameters.number("diagnostics_rate_hz")
        self._report_timer = self._node.create_timer(period_s, self.publish, clock=self._steady_clock)

    def _shared_statuses(self, reading: NodeReading, memory: MemoryReading) -> Sequence[TaskStatus]:
        if reading.camera is not None:
            is_working = any(engine.is_working for engine in reading.engines.values())
            camera = input_status(reading.camera, is_working, input_limits(self._parameters))
        else:
            camera = TaskStatus("input", Level.OK, "not subscribed; configure the node")
        return (
            camera,
            memory_status(memory, memory_limits(self._parameters)),
            thermal_status(self._thermal(), thermal_limits(self._parameters)),
            node_status(self._node.get_fully_qualified_name(), self._namesakes()),
        )

    def _namesakes(self) -> int:
        own = (self._node.get_name(), self._node.get_namespace())
        return sum(seen == own for seen in self._node.get_node_names_and_namespaces())

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)
