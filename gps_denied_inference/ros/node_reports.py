"""What the inference node tells of itself: diagnostics, engine_health, model_info, thermal_state."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rclpy.clock import Clock, ClockType

import gps_denied_inference.msg as messages
from gps_denied_inference.core.contracts import ThermalState
from gps_denied_inference.core.governor import LadderState
from gps_denied_inference.core.health import (
    InputReading,
    Level,
    MemoryMonitor,
    MemoryReading,
    RecentCounts,
    TaskStatus,
    ThermalReading,
    degradation_status,
    engine_status,
    frames_between,
    inference_status,
    input_status,
    memory_status,
    node_status,
    thermal_status,
    worst_of,
)
from gps_denied_inference.core.interface import (
    EngineHealthReport,
    engine_health_message,
    model_info_message,
    thermal_state_message,
)
from gps_denied_inference.core.pipeline import FrameCounts, LatencySummary, ModelIdentity
from gps_denied_inference.ros.diagnostics import DiagnosticsPublisher
from gps_denied_inference.ros.guarded_lifecycle_node import GuardedLifecycleNode
from gps_denied_inference.ros.message_factory import RclpyMessageFactory
from gps_denied_inference.ros.parameters import NodeParameters
from gps_denied_inference.ros.qos import LATCHED
from gps_denied_inference.ros.thresholds import input_limits, memory_limits, thermal_limits

__all__ = ["TASKS", "NodeReading", "NodeReports"]

_WINDOW_S = 2.0
"""Overload is told at the first report in which it shows, and for this long after it has ended."""

TASKS = ("engine", "inference", "input", "memory", "thermal", "degradation", "node")


@dataclass(frozen=True, slots=True)
class NodeReading:
    """All that a report is made from, read at one moment.

    Attributes:
        model: what is loaded; None while nothing is.
        configure_error: why the last configure failed; empty when it did not.
        engine_failure: what is wrong with the engine now; empty while it answers.
        engine_reloads: how often it was loaded again since configure, because it had hung.
        engine_changes: what became of the last requests to replace the engine, oldest first.
        is_working: images are expected.
        camera: what the reception knows; None while nothing is subscribed.
        counts: of the frames since configure.
        latency: of the published frames in the window.
        last_error: last error met by the worker.
        gpu_reserved_bytes: of all engines, by the memory budget.
        ladder: where the node stands on its degradation ladder.
    """

    model: ModelIdentity | None
    configure_error: str
    engine_failure: str
    engine_reloads: int
    engine_changes: Sequence[str]
    is_working: bool
    camera: InputReading | None
    counts: FrameCounts
    latency: LatencySummary
    last_error: str
    gpu_reserved_bytes: int
    ladder: LadderState


class NodeReports:
    """Publishes the reports of an inference node, on its executor's thread unless a method says otherwise.

    Args:
        node: owns the publishers and the timers.
        parameters: rates, limits and levels.
        factory: of messages.
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
        self._reported: FrameCounts | None = None
        self._window = RecentCounts(_WINDOW_S)
        self._memory = MemoryMonitor()
        self._published_camera_id = ""
        self._model_info_publisher: Any = None
        self._thermal_timer: Any = None
        self._health_publisher = node.create_publisher(messages.EngineHealth, "engine_health", 10)
        self._thermal_publisher = node.create_publisher(messages.ThermalState, "thermal_state", LATCHED)
        self._diagnostics = DiagnosticsPublisher(node, TASKS)
        self._report_timer: Any = None
        self._create_report_timer()

    def begin(self, model: ModelIdentity, thermal_poll_hz: float) -> None:
        """Report a node that has just been configured with this engine: its counters start anew."""
        self._reported = None
        self._memory.forget()
        self._model_info_publisher = self._node.create_publisher(messages.ModelInfo, "model_info", LATCHED)
        self.publish_model_info(model)
        self._create_report_timer()
        self.publish_thermal_state()
        self._thermal_timer = self._node.create_timer(
            1.0 / thermal_poll_hz, self.publish_thermal_state, clock=self._steady_clock
        )

    def end(self) -> None:
        """Take back what was said of a configured node; /diagnostics and engine_health go on. Idempotent."""
        if self._thermal_timer is not None:
            self._node.destroy_timer(self._thermal_timer)
            self._thermal_timer = None
        if self._model_info_publisher is not None:
            self._node.destroy_publisher(self._model_info_publisher)
            self._model_info_publisher = None

    def publish_model_info(self, model: ModelIdentity) -> None:
        """Publish what is loaded, while the node is configured."""
        if self._model_info_publisher is None:
            return
        self._published_camera_id = self._parameters.text("camera_id")
        self._model_info_publisher.publish(
            model_info_message(self._factory, model, stamp_ns=self._now_ns(), camera_id=self._published_camera_id)
        )

    def publish_thermal_state(self, state: ThermalState | None = None) -> None:
        """Publish this state, or the latest, from any thread: the polling one tells of each flip."""
        present = self._thermal().state if state is None else state
        self._thermal_publisher.publish(thermal_state_message(self._factory, present, stamp_ns=self._now_ns()))

    def _create_report_timer(self) -> None:
        if self._report_timer is not None:
            self._node.destroy_timer(self._report_timer)
        period_s = 1.0 / self._parameters.number("diagnostics_rate_hz")
        self._report_timer = self._node.create_timer(period_s, self.publish, clock=self._steady_clock)

    def publish(self) -> None:
        """Publish /diagnostics and engine_health as things stand; the timer does it regularly."""
        self._before_report()
        reading = self._read()
        if reading.model is not None and self._published_camera_id != self._parameters.text("camera_id"):
            self.publish_model_info(reading.model)
        memory = self._memory.read(reading.gpu_reserved_bytes)
        statuses = self._statuses(reading, memory)
        self._reported = reading.counts
        self._diagnostics.publish(statuses)
        level, message = worst_of(statuses)
        report = EngineHealthReport(
            level=int(level),
            message=message,
            lifecycle_state=self._node.lifecycle_state,
            counts=reading.counts,
            latency=reading.latency,
            last_error=reading.last_error,
            engine_reloads=reading.engine_reloads,
            input_rate_hz=math.nan if reading.camera is None else reading.camera.pace.rate_hz,
            input_jitter_ms=math.nan if reading.camera is None else reading.camera.pace.jitter_ms,
            resident_bytes=memory.resident_bytes,
            gpu_reserved_bytes=memory.gpu_reserved_bytes,
            memory_slope_mib_per_h=memory.slope_mib_per_h,
            ladder=reading.ladder,
        )
        self._health_publisher.publish(
            engine_health_message(self._factory, report, reading.model, stamp_ns=self._now_ns())
        )

    def _statuses(self, reading: NodeReading, memory: MemoryReading) -> list[TaskStatus]:
        recent = reading.counts if self._reported is None else frames_between(self._reported, reading.counts)
        statuses = [
            engine_status(
                reading.model,
                self._node.lifecycle_state,
                reading.configure_error or reading.engine_failure,
                reading.engine_changes,
                reading.engine_reloads,
            ),
            inference_status(
                reading.counts,
                recent,
                reading.latency,
                reading.last_error,
                self._parameters.number("max_frame_age_ms"),
                window=self._window.update(reading.counts),
                overload_warn_share=self._parameters.number("overload_warn_share"),
                engine_reloads=reading.engine_reloads,
            ),
        ]
        if reading.camera is not None:
            statuses.append(input_status(reading.camera, reading.is_working, input_limits(self._parameters)))
        else:
            statuses.append(TaskStatus("input", Level.OK, "not subscribed; configure the node"))
        statuses.append(memory_status(memory, memory_limits(self._parameters)))
        statuses.append(thermal_status(self._thermal(), thermal_limits(self._parameters)))
        statuses.append(degradation_status(reading.ladder))
        statuses.append(node_status(self._node.get_fully_qualified_name(), self._namesakes()))
        return statuses

    def _namesakes(self) -> int:
        own = (self._node.get_name(), self._node.get_namespace())
        return sum(seen == own for seen in self._node.get_node_names_and_namespaces())

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)
