"""The lifecycle node: one camera in, one engine, features out."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from rclpy.clock import Clock, ClockType

import gps_denied_inference.msg as messages
from gps_denied_inference.core.assembly import assemble_pipeline
from gps_denied_inference.core.contracts import DropReason, OutputKind, ThermalState
from gps_denied_inference.core.engines import MemoryBudget
from gps_denied_inference.core.errors import GpsDeniedInferenceError, InferenceError, SettingsError
from gps_denied_inference.core.health import (
    Level,
    TaskStatus,
    engine_status,
    fidelity_summary,
    inference_status,
    input_status,
    thermal_status,
    worst_of,
)
from gps_denied_inference.core.interface import (
    EngineHealthReport,
    engine_health_message,
    features_message,
    model_info_message,
    thermal_state_message,
)
from gps_denied_inference.core.pipeline import (
    FrameCounts,
    FrameLedger,
    FrameWorker,
    LatencyWindow,
    Pipeline,
    PipelineResult,
)
from gps_denied_inference.core.settings import Settings
from gps_denied_inference.core.thermal import ThermalStatePublisher, create_source
from gps_denied_inference.ros.diagnostics import DiagnosticsPublisher
from gps_denied_inference.ros.engine_replacement import EngineReplacement
from gps_denied_inference.ros.guarded_lifecycle_node import GuardedLifecycleNode
from gps_denied_inference.ros.image_reception import ImageReception
from gps_denied_inference.ros.log_bridge import LogBridge
from gps_denied_inference.ros.message_factory import RclpyMessageFactory
from gps_denied_inference.ros.parameters import NodeParameters
from gps_denied_inference.ros.qos import LATCHED, features_qos, image_qos

__all__ = ["InferenceNode"]

_TASKS = ("engine", "inference", "input", "thermal")
_LEVELS = {"warn": Level.WARN, "error": Level.ERROR}


class InferenceNode(GuardedLifecycleNode):
    """Subscribes `image` (or `image/compressed`) and publishes what a network makes of it.

    Publishes `global_descriptor` or `local_features`, `engine_health`, `/diagnostics` and, latched, `model_info` and
    `thermal_state`.

    Args:
        name: of the node, unless remapped.
        runtime_preset: fixes the runtime (the executables with a runtime in their name).

    Raises:
        SettingsError: a parameter override is wrong.
    """

    def __init__(self, name: str = "inference_node", *, runtime_preset: str | None = None, **node_options: Any) -> None:
        super().__init__(name, **node_options)
        self._node_parameters = NodeParameters(self, runtime_preset)
        self._factory = RclpyMessageFactory()
        self._log_bridge = LogBridge(self.get_logger())
        self._steady_clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._settings: Settings | None = None
        self._memory_budget: MemoryBudget | None = None
        # Held while the pipeline or the worker is exchanged: load_engine does it on a thread of its own.
        self._engine_lock = threading.Lock()
        self._pipeline: Pipeline | None = None
        self._worker: FrameWorker | None = None
        self._reception: ImageReception | None = None
        self._thermal: ThermalStatePublisher | None = None
        self._thermal_timer: Any = None
        self._features_publisher: Any = None
        self._model_info_publisher: Any = None
        self._ledger = FrameLedger()
        self._latency = LatencyWindow()
        self._reported = self._ledger.counts()
        self._published_camera_id = ""
        self._configure_error = ""
        self._last_error = ""
        self._health_publisher = self.create_publisher(messages.EngineHealth, "engine_health", 10)
        self._thermal_publisher = self.create_publisher(messages.ThermalState, "thermal_state", LATCHED)
        self._replacement = EngineReplacement(
            self,
            settings=lambda: self._settings,
            present=lambda: None if self._pipeline is None else self._pipeline.model,
            load=self._load,
            install=self._install,
            on_installed=self._on_installed,
        )
        self._diagnostics = DiagnosticsPublisher(self, _TASKS)
        self._report_timer = self._create_report_timer()
        self._log_bridge.install(is_debug=False)

    # The steps of the lifecycle.

    def configure(self) -> None:
        start_ns = time.monotonic_ns()
        self._configure_error = ""
        try:
            self._configure()
        except GpsDeniedInferenceError as error:
            self._configure_error = str(error)
            raise
        assert self._pipeline is not None
        model, configuration = self._pipeline.model, self._pipeline.model.configuration
        self.get_logger().info(
            f"ready in {(time.monotonic_ns() - start_ns) / 1e9:.2f} s: {model.name} ({model.runtime_label.value}, "
            f"{configuration.effective_precision.value} on {configuration.effective_device}), space {model.space_id}"
        )
        if configuration.fallback_reason:
            self.get_logger().warning(f"fallback: {configuration.fallback_reason}")
        if model.fidelity is not None:
            self.get_logger().info(f"fidelity against FP32: {fidelity_summary(model.fidelity)}")
        if not model.is_gated:
            self.get_logger().warning(
                f"not for flight: this engine did not pass the gate, but allow_ungated is set ({model.gate_complaint})"
            )

    def activate(self) -> None:
        assert self._worker is not None
        self._worker.start()

    def deactivate(self) -> None:
        if self._worker is not None:
            self._worker.stop(self._node_parameters.number("deactivate_timeout_s"))

    def release(self) -> None:
        self._node_parameters.is_configured = False
        if self._reception is not None:
            self._reception.close()
            self._reception = None
        with self._engine_lock:
            self._worker = None
            self._settings = None
            if self._pipeline is not None:
                self._pipeline.close()
                self._pipeline = None
        if self._thermal_timer is not None:
            self.destroy_timer(self._thermal_timer)
            self._thermal_timer = None
        if self._thermal is not None:
            self._thermal.close()
            self._thermal = None
            # Latched: a late subscriber must not take the last reading for a living one.
            self._publish_thermal_state(self._thermal_state())
        if self._features_publisher is not None:
            self.destroy_lifecycle_publisher(self._features_publisher)
            self._features_publisher = None
        if self._model_info_publisher is not None:
            self.destroy_publisher(self._model_info_publisher)
            self._model_info_publisher = None

    def close(self) -> None:
        """Stop working and give everything back, whatever the state. For the end of the process."""
        try:
            self.deactivate()
        except GpsDeniedInferenceError as error:
            self.get_logger().error(str(error))
        self.release()
        self._log_bridge.remove()

    def _configure(self) -> None:
        parameters = self._node_parameters
        settings = parameters.settings()
        if len(settings.engines) != 1:
            names = [engine.name for engine in settings.engines]
            raise SettingsError("engines", names, "one name: this version loads one engine a node")
        self._log_bridge.install(is_debug=settings.per_frame_debug_log)
        source, reason = create_source(settings.thermal_sources, timeline=settings.thermal_timeline)
        self.get_logger().info(f"thermal source: {reason}")
        self._thermal = ThermalStatePublisher(
            source, settings.thermal_poll_hz, on_flip=self._publish_thermal_state, no_source_reason=reason
        )
        self._thermal.start()
        self._memory_budget = MemoryBudget(settings.gpu_memory_budget_bytes)
        self._pipeline = self._load(settings)
        self._settings = settings
        self._ledger, self._latency, self._last_error = FrameLedger(), LatencyWindow(), ""
        self._reported = self._ledger.counts()
        self._worker = FrameWorker(
            self._pipeline,
            self._ledger,
            max_frame_age_ms=settings.max_frame_age_ms,
            publish=self._publish,
            on_error=self._on_frame_error,
        )
        self._create_features_publisher()
        self._model_info_publisher = self.create_publisher(messages.ModelInfo, "model_info", LATCHED)
        self._publish_model_info()
        self._report_timer = self._create_report_timer()
        self._publish_thermal_state(self._thermal_state())
        self._thermal_timer = self.create_timer(
            1.0 / settings.thermal_poll_hz,
            lambda: self._publish_thermal_state(self._thermal_state()),
            clock=self._steady_clock,
        )
        self._reception = ImageReception(
            self,
            is_compressed=parameters.text("image_transport") == "compressed",
            qos=image_qos(parameters.text("input_reliability"), parameters.count("input_depth")),
            submit=self._worker.submit,
        )
        parameters.is_configured = True

    def _load(self, settings: Settings) -> Pipeline:
        return assemble_pipeline(settings, thermal_publisher=self._thermal, memory_budget=self._memory_budget)

    def _install(self, pipeline: Pipeline) -> None:
        with self._engine_lock:
            if self._worker is None or self._pipeline is None:
                raise InferenceError("the node was cleaned up while the new engine was loading; configure it again")
            self._worker.swap(pipeline, self._node_parameters.number("deactivate_timeout_s"))
            old, self._pipeline = self._pipeline, pipeline
        old.close()

    def _on_installed(self, settings: Settings) -> None:
        self._settings = settings
        self._publish_model_info()

    def _create_features_publisher(self) -> None:
        assert self._pipeline is not None
        qos = features_qos(
            self._node_parameters.text("output_reliability"), self._node_parameters.count("output_depth")
        )
        if self._pipeline.model.spec.output_kind is OutputKind.GLOBAL_DESCRIPTOR:
            publisher = self.create_lifecycle_publisher(messages.GlobalDescriptor, "global_descriptor", qos)
        else:
            publisher = self.create_lifecycle_publisher(messages.LocalFeatures, "local_features", qos)
        self._features_publisher = publisher

    def _publish_model_info(self) -> None:
        assert self._pipeline is not None
        self._published_camera_id = self._node_parameters.text("camera_id")
        self._model_info_publisher.publish(
            model_info_message(
                self._factory, self._pipeline.model, stamp_ns=self._now_ns(), camera_id=self._published_camera_id
            )
        )

    # On the worker's thread.

    def _publish(self, result: PipelineResult) -> None:
        dropped = self._ledger.take_dropped_since_last()
        try:
            message = features_message(
                self._factory,
                result,
                camera_id=self._node_parameters.text("camera_id"),
                dropped_since_last=dropped,
                is_throttling=self._thermal_state().thermal_throttle_active,
            )
            self._features_publisher.publish(message)
        except Exception:
            self._ledger.return_dropped(dropped)
            raise
        self._latency.add(result.timings.total_ms)

    def _on_frame_error(self, reason: DropReason, error: Exception) -> None:
        self._last_error = str(error)
        self.get_logger().error(f"frame dropped ({reason.value}): {error}", throttle_duration_sec=5.0)

    # Reports, on the executor's thread.

    def _create_report_timer(self) -> Any:
        previous = getattr(self, "_report_timer", None)
        if previous is not None:
            self.destroy_timer(previous)
        period_s = 1.0 / self._node_parameters.number("diagnostics_rate_hz")
        return self.create_timer(period_s, self._report, clock=self._steady_clock)

    def _report(self) -> None:
        if self._worker is not None:
            self._worker.max_frame_age_ms = self._node_parameters.number("max_frame_age_ms")
            if self._published_camera_id != self._node_parameters.text("camera_id"):
                self._publish_model_info()
        counts, latency = self._ledger.counts(), self._latency.summary()
        statuses = self._statuses(counts)
        self._reported = counts
        self._diagnostics.publish(statuses)
        level, message = worst_of(statuses)
        report = EngineHealthReport(
            level=int(level),
            message=message,
            lifecycle_state=self.lifecycle_state,
            counts=counts,
            latency=latency,
            last_error=self._last_error,
        )
        model = self._pipeline.model if self._pipeline is not None else None
        self._health_publisher.publish(engine_health_message(self._factory, report, model, stamp_ns=self._now_ns()))

    def _statuses(self, counts: FrameCounts) -> list[TaskStatus]:
        model = self._pipeline.model if self._pipeline is not None else None
        statuses = [
            engine_status(model, self.lifecycle_state, self._configure_error, self._replacement.history),
            inference_status(
                counts,
                _difference(counts, self._reported),
                self._latency.summary(),
                self._last_error,
                self._node_parameters.number("max_frame_age_ms"),
            ),
        ]
        if self._reception is not None:
            is_active = self._worker is not None and self._worker.is_running
            timeout_s = self._node_parameters.number("input_timeout_s")
            statuses.append(input_status(self._reception.reading(), is_active, timeout_s))
        else:
            statuses.append(TaskStatus("input", Level.OK, "not subscribed; configure the node"))
        unknown_level = _LEVELS[self._node_parameters.text("thermal_unknown_level")]
        statuses.append(thermal_status(self._thermal_state(), unknown_level))
        return statuses

    def _thermal_state(self) -> ThermalState:
        if self._thermal is None:
            return ThermalState(cause="the node is not configured")
        return self._thermal.snapshot()

    def _publish_thermal_state(self, state: ThermalState) -> None:
        # On the executor's thread by the timer, on the polling thread when throttling begins or ends.
        self._thermal_publisher.publish(thermal_state_message(self._factory, state, stamp_ns=self._now_ns()))

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)


def _difference(now: FrameCounts, before: FrameCounts) -> FrameCounts:
    dropped: Mapping[DropReason, int] = {r: now.dropped[r] - before.dropped[r] for r in DropReason}
    return FrameCounts(now.received - before.received, now.published - before.published, dropped, now.pending)
