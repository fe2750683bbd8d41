"""The lifecycle node: one camera in, one engine or several, features out."""

from __future__ import annotations

import time
from typing import Any

from gps_denied_inference.core.assembly import assemble_pipeline
from gps_denied_inference.core.contracts import Frame, ThermalState
from gps_denied_inference.core.engines import MemoryBudget
from gps_denied_inference.core.errors import GpsDeniedInferenceError
from gps_denied_inference.core.health import ThermalReading
from gps_denied_inference.core.imaging import SharedDecoder
from gps_denied_inference.core.pipeline import Pipeline, Turns
from gps_denied_inference.core.settings import Settings
from gps_denied_inference.core.thermal import ThermalStatePublisher, create_source
from gps_denied_inference.ros.engine_replacement import EngineReplacement
from gps_denied_inference.ros.guarded_lifecycle_node import GuardedLifecycleNode
from gps_denied_inference.ros.hosted_engine import EngineHost, HostedEngine
from gps_denied_inference.ros.image_reception import ImageReception
from gps_denied_inference.ros.log_bridge import LogBridge
from gps_denied_inference.ros.message_factory import RclpyMessageFactory
from gps_denied_inference.ros.node_reports import NodeReading, NodeReports
from gps_denied_inference.ros.parameters import NodeParameters
from gps_denied_inference.ros.qos import image_qos

__all__ = ["InferenceNode"]


class InferenceNode(GuardedLifecycleNode):
    """Subscribes `image` (or `image/compressed`) and publishes what networks make of it.

    Publishes `global_descriptor` or `local_features`, `engine_health`, `/diagnostics` and, latched, `model_info` and
    `thermal_state`. Engines after the first one publish under their names: `NAME/local_features`. A frame is received
    and decoded once for all engines; those on one device work in turns.

    Args:
        name: of the node, unless remapped.
        runtime_preset: fixes the runtime (the executables with a runtime in their name).

    Raises:
        SettingsError: a parameter override is wrong.
    """

    def __init__(self, name: str = "inference_node", *, runtime_preset: str | None = None, **node_options: Any) -> None:
        super().__init__(name, **node_options)
        self._node_parameters = NodeParameters(self, runtime_preset)
        factory = RclpyMessageFactory()
        self._log_bridge = LogBridge(self.get_logger())
        self._memory_budget: MemoryBudget | None = None
        self._decoder: SharedDecoder | None = None
        self._reception: ImageReception | None = None
        self._thermal: ThermalStatePublisher | None = None
        self.exit_reason = ""
        """Why the process has to end by itself; empty while it has not."""
        prefixes = {
            engine: f"{engine}/" if index else "" for index, engine in enumerate(self._node_parameters.engine_names)
        }
        self._reports = NodeReports(
            self,
            self._node_parameters,
            factory,
            engines=prefixes,
            read=self._read,
            thermal=self._thermal_reading,
            before_report=self._apply_dynamic_parameters,
        )
        host = EngineHost(
            node=self,
            parameters=self._node_parameters,
            factory=factory,
            load=self._load,
            thermal=self._thermal_state,
            report=self._reports.publish,
            tell_model=self._reports.publish_model_info,
            give_up=self._give_up,
        )
        self._engines = {engine: HostedEngine(engine, prefix, host) for engine, prefix in prefixes.items()}
        self._replacement = EngineReplacement(self, self._engines, load=self._load, tell_model=host.tell_model)
        self._log_bridge.install(is_debug=False)

    # The steps of the lifecycle.

    @property
    def is_bond_enabled(self) -> bool:
        return self._node_parameters.flag("bond_enabled")

    def configure(self) -> None:
        start_ns = time.monotonic_ns()
        self._configure()
        self.get_logger().info(f"ready in {(time.monotonic_ns() - start_ns) / 1e9:.2f} s")
        for engine in self._engines.values():
            engine.tell()

    def activate(self) -> None:
        for engine in self._engines.values():
            engine.start()

    def deactivate(self) -> None:
        timeout_s = self._node_parameters.number("deactivate_timeout_s")
        failure: GpsDeniedInferenceError | None = None
        for engine in self._engines.values():
            try:
                engine.stop(timeout_s)
            except GpsDeniedInferenceError as error:  # the others must not go on for that
                failure = error
        if self._decoder is not None:
            self._decoder.forget()
        if failure is not None:
            raise failure

    def release(self) -> None:
        self._node_parameters.is_configured = False
        if self._reception is not None:
            self._reception.close()
            self._reception = None
        for engine in self._engines.values():
            engine.release()
        self._decoder = None
        self._reports.end()
        if self._thermal is not None:
            self._thermal.close()
            self._thermal = None
            # Latched: a late subscriber must not take the last reading for a living one.
            self._reports.publish_thermal_state()

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
        self._log_bridge.install(is_debug=settings.per_frame_debug_log)
        source, reason = create_source(settings.thermal_sources, timeline=settings.thermal_timeline, keep_trying=True)
        self.get_logger().info(f"thermal source: {reason}")
        self._thermal = ThermalStatePublisher(
            source, settings.thermal_poll_hz, on_flip=self._reports.publish_thermal_state, source_reason=reason
        )
        self._memory_budget = MemoryBudget(settings.gpu_memory_budget_bytes)
        self._decoder = SharedDecoder() if len(self._engines) > 1 else None
        models = {name: (engine.load(settings), engine.requested_runtime) for name, engine in self._engines.items()}
        devices = [model.configuration.effective_device for model, _ in models.values()]
        turns = {device: Turns() for device in devices if devices.count(device) > 1}
        for engine, device in zip(self._engines.values(), devices, strict=True):
            engine.configure(turns.get(device))
        # Only now: a scripted timeline begins with the first reading, and loading takes its time.
        self._thermal.start()
        self._reports.begin(models, settings.thermal_poll_hz)
        self._reception = ImageReception(
            self,
            is_compressed=parameters.text("image_transport") == "compressed",
            qos=image_qos(parameters.text("input_reliability"), parameters.count("input_depth")),
            submit=self._submit,
            future_tolerance_ms=lambda: parameters.number("input_future_tolerance_ms"),
        )
        parameters.is_configured = True

    def _load(self, settings: Settings, engine: str) -> Pipeline:
        return assemble_pipeline(
            settings,
            engine,
            thermal_publisher=self._thermal,
            memory_budget=self._memory_budget,
            decoder=self._decoder,
        )

    def _submit(self, frame: Frame, received_ns: int) -> None:
        # The urgent one first: from then on the others wait for it.
        for engine in sorted(self._engines.values(), key=lambda engine: engine.priority, reverse=True):
            engine.submit(frame, received_ns)

    def _give_up(self, reason: str) -> None:
        self.exit_reason = reason

    # For the reports, on the executor's thread.

    def _read(self) -> NodeReading:
        return NodeReading(
            configure_error=self._configure_error,
            engines={name: engine.reading(self._replacement.history(name)) for name, engine in self._engines.items()},
            camera=None if self._reception is None else self._reception.reading(),
            gpu_reserved_bytes=0 if self._memory_budget is None else sum(self._memory_budget.snapshot().values()),
        )

    def _apply_dynamic_parameters(self) -> None:
        for engine in self._engines.values():
            engine.apply_parameters()

    def _thermal_state(self) -> ThermalState:
        if self._thermal is None:
            return ThermalState(cause="the node is not configured")
        return self._thermal.snapshot()

    def _thermal_reading(self) -> ThermalReading:
        if self._thermal is None:
            return ThermalReading(self._thermal_state())
        return ThermalReading(self._thermal.observe(), self._thermal.source_reason, self._thermal.seconds_unchanged())
