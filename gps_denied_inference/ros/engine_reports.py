"""What an inference node tells of one engine: its diagnostic tasks, `engine_health` and `model_info`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gps_denied_inference.msg as messages
from gps_denied_inference.core.health import (
    InferenceReading,
    InputReading,
    MemoryReading,
    RecentCounts,
    TaskStatus,
    degradation_status,
    engine_status,
    inference_status,
    worst_of,
)
from gps_denied_inference.core.interface import EngineHealthReport, engine_health_message, model_info_message
from gps_denied_inference.core.pipeline import ModelIdentity
from gps_denied_inference.ros.guarded_lifecycle_node import GuardedLifecycleNode
from gps_denied_inference.ros.hosted_engine import EngineReading
from gps_denied_inference.ros.message_factory import RclpyMessageFactory
from gps_denied_inference.ros.parameters import NodeParameters
from gps_denied_inference.ros.qos import LATCHED
from gps_denied_inference.ros.thresholds import inference_limits

__all__ = ["ENGINE_TASKS", "EngineReports"]

_WINDOW_S = 2.0
"""What goes wrong is told at the first report in which it shows, and for this long after it has ended."""

ENGINE_TASKS = ("engine", "inference", "degradation")


class EngineReports:
    """Publishes the reports of one engine, on the executor's thread unless a method says otherwise.

    Args:
        node: owns the publishers.
        topic_prefix: of the engine's topics.
        label: of the engine in the names of its tasks; empty for a node's first engine, whose names stay as they are
            whatever else the node hosts.
    """

    def __init__(
        self,
        node: GuardedLifecycleNode,
        parameters: NodeParameters,
        factory: RclpyMessageFactory,
        *,
        topic_prefix: str,
        label: str,
    ) -> None:
        self._node = node
        self._parameters = parameters
        self._factory = factory
        self._topic_prefix = topic_prefix
        self._suffix = f" {label}" if label else ""
        self._window = RecentCounts(_WINDOW_S)
        self._published_camera_id = ""
        self._model_info_publisher: Any = None
        self._health_publisher = node.create_publisher(messages.EngineHealth, f"{topic_prefix}engine_health", 10)

    @property
    def task_names(self) -> Sequence[str]:
        return tuple(task + self._suffix for task in ENGINE_TASKS)

    def begin(self, model: ModelIdentity, requested_runtime: str) -> None:
        """Report an engine that has just been configured: its counters start anew."""
        self._window = RecentCounts(_WINDOW_S)
        topic = f"{self._topic_prefix}model_info"
        self._model_info_publisher = self._node.create_publisher(messages.ModelInfo, topic, LATCHED)
        self.publish_model_info(model, requested_runtime)

    def end(self) -> None:
        """Take back what was said of a configured engine; engine_health goes on. Idempotent."""
        if self._model_info_publisher is not None:
            self._node.destroy_publisher(self._model_info_publisher)
            self._model_info_publisher = None

    def publish_model_info(self, model: ModelIdentity, requested_runtime: str) -> None:
        """Publish what is loaded, while the node is configured; from any thread.

        Args:
            requested_runtime: of the settings; a rung of the degradation ladder may run another one.
        """
        publisher = self._model_info_publisher
        if publisher is None:
            return
        self._published_camera_id = self._parameters.text("camera_id")
        publisher.publish(
            model_info_message(
                self._factory,
                model,
                stamp_ns=self._now_ns(),
                camera_id=self._published_camera_id,
                requested_runtime=requested_runtime,
            )
        )

    def follow_camera_id(self, model: ModelIdentity | None, requested_runtime: str) -> None:
        """Publish the model anew when the camera's name has changed."""
        if model is not None and self._published_camera_id != self._parameters.text("camera_id"):
            self.publish_model_info(model, requested_runtime)

    def statuses(self, reading: EngineReading, configure_error: str) -> list[TaskStatus]:
        """Judge the engine, once a report."""
        runs = "" if reading.model is None else reading.model.runtime_label.value
        is_other = bool(runs and reading.requested_runtime) and runs != reading.requested_runtime
        statuses = [
            engine_status(
                reading.model,
                self._node.lifecycle_state,
                configure_error or reading.failure,
                reading.changes,
                reading.reloads,
                requested_runtime=reading.requested_runtime,
                runtime_reason=reading.ladder.reason if is_other else "",
            ),
            inference_status(
                InferenceReading(
                    counts=reading.counts,
                    window=self._window.update(reading.counts),
                    latency=reading.latency,
                    last_error=reading.last_error,
                    engine_reloads=reading.reloads,
                    output_qos_incompatibility=reading.output_qos_incompatibility,
                ),
                inference_limits(self._parameters),
            ),
            degradation_status(reading.ladder),
        ]
        return [replace(status, name=status.name + self._suffix) for status in statuses]

    def publish_health(
        self,
        reading: EngineReading,
        statuses: Sequence[TaskStatus],
        camera: InputReading | None,
        memory: MemoryReading,
    ) -> None:
        """Publish `engine_health`.

        Args:
            statuses: of this engine and of the whole node; the worst one is the message's level.
        """
        level, message = worst_of(statuses)
        report = EngineHealthReport(
            level=int(level),
            message=message,
            lifecycle_state=self._node.lifecycle_state,
            counts=reading.counts,
            latency=reading.latency,
            last_error=reading.last_error,
            engine_reloads=reading.reloads,
            requested_runtime=reading.requested_runtime,
            engine_changes=reading.changes,
            camera=camera,
            output_qos_incompatibility=reading.output_qos_incompatibility,
            memory=memory,
            ladder=reading.ladder,
        )
        self._health_publisher.publish(
            engine_health_message(self._factory, report, reading.model, stamp_ns=self._now_ns())
        )

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)
