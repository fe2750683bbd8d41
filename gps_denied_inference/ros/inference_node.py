"""The lifecycle node: one camera in, one engine, features out."""

from __future__ import annotations

import threading
import time
from typing import Any

import gps_denied_inference.msg as messages
from gps_denied_inference.core.assembly import assemble_pipeline
from gps_denied_inference.core.contracts import DropReason, OutputKind, ThermalState
from gps_denied_inference.core.engines import MemoryBudget
from gps_denied_inference.core.errors import GpsDeniedInferenceError, InferenceError, SettingsError
from gps_denied_inference.core.governor import LadderState, RungProcessor
from gps_denied_inference.core.health import ThermalReading, fidelity_summary
from gps_denied_inference.core.interface import features_message
from gps_denied_inference.core.pipeline import (
    FrameLedger,
    FrameProcessor,
    FrameWorker,
    LatencyWindow,
    ModelIdentity,
    Pipeline,
    PipelineResult,
)
from gps_denied_inference.core.settings import Settings
from gps_denied_inference.core.thermal import ThermalStatePublisher, create_source
from gps_denied_inference.ros.degradation import Degradation, load_ladder
from gps_denied_inference.ros.engine_recovery import EngineRecovery
from gps_denied_inference.ros.engine_replacement import EngineReplacement
from gps_denied_inference.ros.guarded_lifecycle_node import GuardedLifecycleNode
from gps_denied_inference.ros.image_reception import ImageReception
from gps_denied_inference.ros.log_bridge import LogBridge
from gps_denied_inference.ros.message_factory import RclpyMessageFactory
from gps_denied_inference.ros.node_reports import NodeReading, NodeReports
from gps_denied_inference.ros.parameters import NodeParameters
from gps_denied_inference.ros.qos import features_qos, image_qos

__all__ = ["InferenceNode"]


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
        self._settings: Settings | None = None
        self._memory_budget: MemoryBudget | None = None
        # Held while the pipeline or the worker is exchanged: load_engine does it on a thread of its own.
        self._engine_lock = threading.Lock()
        self._pipeline: Pipeline | None = None
        self._worker: FrameWorker | None = None
        self._degradation: Degradation | None = None
        self._reception: ImageReception | None = None
        self._thermal: ThermalStatePublisher | None = None
        self._features_publisher: Any = None
        self._ledger = FrameLedger()
        self._latency = LatencyWindow()
        self._last_error = ""
        self._recovery: EngineRecovery | None = None
        self.exit_reason = ""
        """Why the process has to end by itself; empty while it has not."""
        self._replacement = EngineReplacement(
            self,
            settings=lambda: self._settings,
            present=lambda: None if self._pipeline is None else self._pipeline.model,
            load=self._load,
            install=self._install,
            on_installed=self._on_installed,
        )
        self._reports = NodeReports(
            self,
            self._node_parameters,
            self._factory,
            read=self._read,
            thermal=self._thermal_reading,
            before_report=self._apply_dynamic_parameters,
        )
        self._log_bridge.install(is_debug=False)

    # The steps of the lifecycle.

    @property
    def is_bond_enabled(self) -> bool:
        return self._node_parameters.flag("bond_enabled")

    def configure(self) -> None:
        start_ns = time.monotonic_ns()
        self._configure()
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
        if self._degradation is not None:
            self._degradation.start()

    def deactivate(self) -> None:
        timeout_s = self._node_parameters.number("deactivate_timeout_s")
        if self._degradation is not None:
            self._degradation.stop(timeout_s)
        if self._worker is not None:
            self._worker.stop(timeout_s)

    def release(self) -> None:
        self._node_parameters.is_configured = False
        if self._recovery is not None:
            self._recovery.end()
            self._recovery = None
        if self._reception is not None:
            self._reception.close()
            self._reception = None
        with self._engine_lock:
            self._worker = None
            self._settings = None
            if self._degradation is not None:
                self._degradation.close()
                self._degradation = None
            if self._pipeline is not None:
                self._pipeline.close()
                self._pipeline = None
        self._reports.end()
        if self._thermal is not None:
            self._thermal.close()
            self._thermal = None
            # Latched: a late subscriber must not take the last reading for a living one.
            self._reports.publish_thermal_state()
        if self._features_publisher is not None:
            self.destroy_lifecycle_publisher(self._features_publisher)
            self._features_publisher = None

    def close(self) -> None:
        """Stop working and give everything back, whatever the state. For the end of the process."""
        if self.exit_reason:
            self._reports.publish()
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
            source, settings.thermal_poll_hz, on_flip=self._reports.publish_thermal_state, source_reason=reason
        )
        self._memory_budget = MemoryBudget(settings.gpu_memory_budget_bytes)
        self._pipeline = self._load(settings)
        self._settings = settings
        self._ledger, self._latency, self._last_error = FrameLedger(), LatencyWindow(), ""
        self._worker = FrameWorker(
            self._pipeline,
            self._ledger,
            max_frame_age_ms=settings.max_frame_age_ms,
            publish=self._publish,
            on_error=self._on_frame_error,
            on_late_return=_close_late,
        )
        ladder = load_ladder(parameters, settings, self._pipeline, self._load)
        if ladder is not None:
            self._degradation = Degradation(
                ladder,
                self._worker,
                parameters,
                exchange=self._engine_lock,
                thermal=self._thermal_state,
                counts=self._ledger.counts,
                on_model=self._reports.publish_model_info,
                logger=self.get_logger(),
            )
            rungs = ", ".join(f"'{rung.name}'" for rung in ladder.ladder.rungs)
            self.get_logger().info(f"degradation ladder: {rungs}, with {len(ladder.engines)} engines")
        # Only now: a scripted timeline begins with the first reading, and loading takes its time.
        self._thermal.start()
        self._create_features_publisher()
        self._reports.begin(self._pipeline.model, settings.thermal_poll_hz)
        self._recovery = self._watch(self._worker)
        self._reception = ImageReception(
            self,
            is_compressed=parameters.text("image_transport") == "compressed",
            qos=image_qos(parameters.text("input_reliability"), parameters.count("input_depth")),
            submit=self._worker.submit,
            future_tolerance_ms=lambda: parameters.number("input_future_tolerance_ms"),
        )
        parameters.is_configured = True

    def _load(self, settings: Settings) -> Pipeline:
        return assemble_pipeline(settings, thermal_publisher=self._thermal, memory_budget=self._memory_budget)

    def _install(self, pipeline: Pipeline) -> None:
        with self._engine_lock:
            if self._worker is None or self._pipeline is None:
                raise InferenceError("the node was cleaned up while the new engine was loading; configure it again")
            if self._degradation is not None:
                self._degradation.replace_top(pipeline)
            else:
                self._worker.swap(pipeline, self._node_parameters.number("deactivate_timeout_s"))
            old, self._pipeline = self._pipeline, pipeline
        old.close()

    def _watch(self, worker: FrameWorker) -> EngineRecovery:
        def abandon() -> bool:
            with self._engine_lock:
                if not worker.abandon():
                    return False
                # What hung is closed by its own thread, if it ever returns: nobody may pull the engine from under it.
                self._pipeline = None
            return True

        def reload() -> None:
            settings, degradation = self._settings, self._degradation
            if settings is None:
                return
            if degradation is not None and not degradation.has_top_engine:
                raise InferenceError("it belongs to a lower rung of the degradation ladder, which is loaded as a whole")
            pipeline = self._load(settings)
            with self._engine_lock:
                if self._worker is worker:
                    if self._degradation is None:
                        worker.swap(pipeline, self._node_parameters.number("deactivate_timeout_s"))
                    else:
                        self._degradation.replace_top(pipeline)
                    self._pipeline = pipeline
                    return
            pipeline.close()  # the node was cleaned up meanwhile

        def give_up(reason: str) -> None:
            self.exit_reason = reason

        return EngineRecovery(
            self,
            busy_s=lambda: worker.busy_s,
            deadline_s=lambda: self._node_parameters.number("infer_deadline_ms") / 1e3,
            abandon=abandon,
            reload=reload,
            report=self._reports.publish,
            give_up=give_up,
        )

    def _on_installed(self, settings: Settings) -> None:
        self._settings = settings
        model = self._model_in_work()
        if model is not None:
            self._reports.publish_model_info(model)

    def _model_in_work(self) -> ModelIdentity | None:
        """Of the rung in work; the normal one without a ladder; None while nothing is loaded."""
        degradation = self._degradation
        if degradation is not None:
            return degradation.model
        return None if self._pipeline is None else self._pipeline.model

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
        self._latency.add(result.timings)
        if self._degradation is not None:
            self._degradation.published(result.timings.total_ms)

    def _on_frame_error(self, reason: DropReason, error: Exception) -> None:
        self._last_error = str(error)
        self.get_logger().error(f"frame dropped ({reason.value}): {error}", throttle_duration_sec=5.0)

    # For the reports, on the executor's thread.

    def _read(self) -> NodeReading:
        return NodeReading(
            model=self._model_in_work(),
            configure_error=self._configure_error,
            engine_failure="" if self._recovery is None else self._recovery.complaint,
            engine_reloads=0 if self._recovery is None else self._recovery.reloads,
            engine_changes=self._replacement.history,
            is_working=self._worker is not None and self._worker.is_running,
            camera=None if self._reception is None else self._reception.reading(),
            counts=self._ledger.counts(),
            latency=self._latency.summary(),
            last_error=self._last_error,
            gpu_reserved_bytes=0 if self._memory_budget is None else sum(self._memory_budget.snapshot().values()),
            ladder=LadderState() if self._degradation is None else self._degradation.state(),
        )

    def _apply_dynamic_parameters(self) -> None:
        if self._worker is not None:
            self._worker.max_frame_age_ms = self._node_parameters.number("max_frame_age_ms")

    def _thermal_state(self) -> ThermalState:
        if self._thermal is None:
            return ThermalState(cause="the node is not configured")
        return self._thermal.snapshot()

    def _thermal_reading(self) -> ThermalReading:
        if self._thermal is None:
            return ThermalReading(self._thermal_state())
        return ThermalReading(self._thermal.observe(), self._thermal.source_reason, self._thermal.seconds_unchanged())


def _close_late(processor: FrameProcessor) -> None:
    """Give back what a call held that was abandoned and returned after all."""
    if isinstance(processor, RungProcessor):
        processor.pipeline.close()
    elif isinstance(processor, Pipeline):
        processor.close()
