"""One of the engines of an inference node: its network and worker, its books, ladder and watchdog, its topic."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gps_denied_inference.msg as messages
from gps_denied_inference.core.contracts import DropReason, Frame, OutputKind, ThermalState
from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.governor import LadderState, RungProcessor
from gps_denied_inference.core.interface import features_message
from gps_denied_inference.core.pipeline import (
    FrameCounts,
    FrameLedger,
    FrameProcessor,
    FrameWorker,
    LatencySummary,
    LatencyWindow,
    ModelIdentity,
    Pipeline,
    PipelineResult,
    Turns,
)
from gps_denied_inference.core.settings import Settings
from gps_denied_inference.ros.degradation import Degradation, load_ladder
from gps_denied_inference.ros.engine_recovery import EngineRecovery
from gps_denied_inference.ros.guarded_lifecycle_node import GuardedLifecycleNode
from gps_denied_inference.ros.loaded_model_log import log_loaded_model
from gps_denied_inference.ros.message_factory import RclpyMessageFactory
from gps_denied_inference.ros.output_qos import OutputQos
from gps_denied_inference.ros.parameters import NodeParameters
from gps_denied_inference.ros.qos import features_qos

__all__ = ["EngineHost", "EngineReading", "HostedEngine"]


@dataclass(frozen=True, slots=True)
class EngineReading:
    """What the reports tell of one engine, read at one moment.

    Attributes:
        model: what is loaded; None while nothing is.
        failure: what is wrong with the engine now; empty while it answers.
        reloads: how often it was loaded again since configure, because it had hung.
        changes: what became of the last requests to replace the engine, oldest first.
        is_working: images are expected.
        counts: of the frames since configure.
        latency: of the published frames in the window.
        last_error: last error met by the worker.
        ladder: where the engine stands on its degradation ladder.
        requested_runtime: of the settings; empty while nothing is loaded.
        output_qos_incompatibility: of a subscriber to the features that gets none; empty without one.
    """

    model: ModelIdentity | None
    failure: str
    reloads: int
    changes: Sequence[str]
    is_working: bool
    counts: FrameCounts
    latency: LatencySummary
    last_error: str
    ladder: LadderState
    requested_runtime: str
    output_qos_incompatibility: str


@dataclass(frozen=True, slots=True)
class EngineHost:
    """What an engine needs of the node that hosts it.

    Attributes:
        node: owns publishers, timers and the log.
        load: makes the pipeline of one engine of these settings, gated and checked, within the node's memory budget.
        thermal: the latest thermal state, without waiting.
        report: publishes the node's reports at once; on the executor's thread.
        tell_model: publishes what an engine runs now, and which runtime the settings ask for; from any thread.
        give_up: told why the process must end.
    """

    node: GuardedLifecycleNode
    parameters: NodeParameters
    factory: RclpyMessageFactory
    load: Callable[[Settings, str], Pipeline]
    thermal: Callable[[], ThermalState]
    report: Callable[[], None]
    tell_model: Callable[[str, ModelIdentity, str], None]
    give_up: Callable[[str], None]


class HostedEngine:
    """From a received frame to a published message, for one engine.

    Args:
        name: of the engine in the settings.
        topic_prefix: of its topics: empty, or with its slash.
        host: the node.
    """

    def __init__(self, name: str, topic_prefix: str, host: EngineHost) -> None:
        self.name = name
        self.topic_prefix = topic_prefix
        self._host = host
        # Held while the pipeline or the worker is exchanged: load_engine does it on a thread of its own.
        self._lock = threading.Lock()
        self._settings: Settings | None = None
        self._pipeline: Pipeline | None = None
        self._worker: FrameWorker | None = None
        self._degradation: Degradation | None = None
        self._recovery: EngineRecovery | None = None
        self._publisher: Any = None
        self._output_qos = OutputQos(host.node)
        self._ledger = FrameLedger()
        self._latency = LatencyWindow()
        self._last_error = ""
        self._rung_rate_hz: float | None = None

    @property
    def pipeline(self) -> Pipeline | None:
        """Of the normal rung; None while nothing is loaded."""
        return self._pipeline

    @property
    def settings(self) -> Settings | None:
        """What the engine was loaded by; None while nothing is."""
        return self._settings

    @property
    def model(self) -> ModelIdentity | None:
        """Of the rung in work; the normal one without a ladder; None while nothing is loaded."""
        degradation = self._degradation
        if degradation is not None:
            return degradation.model
        return None if self._pipeline is None else self._pipeline.model

    @property
    def requested_runtime(self) -> str:
        """Of the settings; a rung of the ladder may run another one. Empty while nothing is loaded."""
        return "" if self._settings is None else self._settings.engine(self.name).runtime.value

    @property
    def priority(self) -> int:
        """In the turns of its device; the higher, the sooner."""
        return 0 if self._worker is None else self._worker.priority

    # The steps of the lifecycle.

    def load(self, settings: Settings) -> ModelIdentity:
        """Load the engine. Raises an error of the family; `release` gives back what was loaded."""
        self._pipeline = self._host.load(settings, self.name)
        self._settings = settings
        return self._pipeline.model

    def configure(self, turns: Turns | None) -> None:
        """Put a worker and, where one is asked for, the ladder around the loaded engine, and open its topic.

        Args:
            turns: of the device, when other engines use it too.
        """
        assert self._pipeline is not None
        assert self._settings is not None
        parameters, node = self._host.parameters, self._host.node
        self._ledger, self._latency, self._last_error = FrameLedger(), LatencyWindow(), ""
        self._rung_rate_hz = None
        self._worker = FrameWorker(
            self._pipeline,
            self._ledger,
            max_frame_age_ms=self._settings.max_frame_age_ms,
            publish=self._publish,
            on_error=self._on_frame_error,
            on_late_return=_close_late,
            turns=turns,
        )
        self.apply_parameters()
        ladder = load_ladder(parameters, self._settings, self.name, self._pipeline, self._host.load)
        if ladder is not None:
            self._degradation = Degradation(
                ladder,
                self._worker,
                parameters,
                exchange=self._lock,
                limit_rate=self._limit_rate,
                thermal=self._host.thermal,
                counts=self._ledger.counts,
                on_model=lambda model: self._host.tell_model(self.name, model, self.requested_runtime),
                logger=node.get_logger(),
            )
            rungs = ", ".join(f"'{rung.name}'" for rung in ladder.ladder.rungs)
            node.get_logger().info(f"degradation ladder of {self.name}: {rungs}, with {len(ladder.engines)} engines")
            for pipeline in ladder.engines[1:]:
                log_loaded_model(node.get_logger(), pipeline.model, f"on the ladder of {self.name}")
        qos = features_qos(parameters.text("output_reliability"), parameters.count("output_depth"))
        if self._pipeline.model.spec.output_kind is OutputKind.GLOBAL_DESCRIPTOR:
            kind, topic = messages.GlobalDescriptor, "global_descriptor"
        else:
            kind, topic = messages.LocalFeatures, "local_features"
        self._publisher = node.create_lifecycle_publisher(
            kind, self.topic_prefix + topic, qos, event_callbacks=self._output_qos.callbacks
        )
        self._recovery = self._watch(self._worker)

    def start(self) -> None:
        """Begin to work."""
        assert self._worker is not None
        self._worker.start()
        if self._degradation is not None:
            self._degradation.start()

    def stop(self, timeout_s: float) -> None:
        """Stop working; raises an InferenceError when the network does not return in time. Idempotent."""
        if self._degradation is not None:
            self._degradation.stop(timeout_s)
        if self._worker is not None:
            self._worker.stop(timeout_s)

    def release(self) -> None:
        """Give everything back, but for an engine that does not return: its thread closes it, if ever. Idempotent."""
        if self._recovery is not None:
            self._recovery.end()
            self._recovery = None
        with self._lock:
            is_hung = self._worker is not None and self._worker.abandon()
            is_top = self._degradation is None or self._degradation.has_top_engine
            self._worker = None
            self._settings = None
            if self._degradation is not None and (is_top or not is_hung):
                self._degradation.close()
            self._degradation = None
            if self._pipeline is not None and not (is_hung and is_top):
                self._pipeline.close()
            self._pipeline = None
        if self._publisher is not None:
            self._host.node.destroy_lifecycle_publisher(self._publisher)
            self._publisher = None

    # While it works.

    def submit(self, frame: Frame, received_ns: int) -> None:
        """Hand over a frame with the steady clock of its reception; never waits."""
        if self._worker is not None:
            self._worker.submit(frame, received_ns)

    def apply_parameters(self) -> None:
        """Take over the parameters that take effect while the node runs."""
        worker, parameters = self._worker, self._host.parameters
        if worker is not None:
            worker.max_frame_age_ms = parameters.number("max_frame_age_ms")
            worker.priority = parameters.count(f"{self.name}.priority")
            self._apply_rate()

    def install(self, pipeline: Pipeline, settings: Settings) -> None:
        """Put another engine in the place of the present one, between two frames, and close that.

        Args:
            settings: that it was loaded by.

        Raises:
            GpsDeniedInferenceError: the node was cleaned up meanwhile, the network did not return in time, or a rung of
                the ladder has another space; nothing has changed.
        """
        with self._lock:
            if self._worker is None or self._pipeline is None:
                raise InferenceError("the node was cleaned up while the new engine was loading; configure it again")
            self._exchange(self._worker, pipeline)
            old, self._pipeline, self._settings = self._pipeline, pipeline, settings
        try:
            old.close()
        except Exception as error:  # the new engine works: what a backend says of the old one changes nothing of that
            self._host.node.get_logger().error(f"the engine that was replaced could not be released: {error}")

    def reading(self, changes: Sequence[str]) -> EngineReading:
        """Return how the engine is. Args: changes: what became of the last requests to replace it."""
        return EngineReading(
            model=self.model,
            failure="" if self._recovery is None else self._recovery.complaint,
            reloads=0 if self._recovery is None else self._recovery.reloads,
            changes=changes,
            is_working=self._worker is not None and self._worker.is_running,
            counts=self._ledger.counts(),
            latency=self._latency.summary(),
            last_error=self._last_error,
            ladder=LadderState() if self._degradation is None else self._degradation.state(),
            requested_runtime=self.requested_runtime,
            output_qos_incompatibility="" if self._publisher is None else self._output_qos.complaint(self._publisher),
        )

    def tell(self) -> None:
        """Say in the log what was loaded, and what is not as it should be on a flight."""
        if self.model is not None:
            log_loaded_model(self._host.node.get_logger(), self.model, self.name)

    # Inside.

    def _exchange(self, worker: FrameWorker, pipeline: Pipeline) -> None:
        if self._degradation is not None:
            self._degradation.replace_top(pipeline)
        else:
            worker.swap(pipeline, self._host.parameters.number("deactivate_timeout_s"))

    def _limit_rate(self, rung_rate_hz: float | None) -> None:
        """Limit the rate to that of the rung, or to the engine's own where that is lower. On the governor's thread."""
        self._rung_rate_hz = rung_rate_hz
        self._apply_rate()

    def _apply_rate(self) -> None:
        own = self._host.parameters.number(f"{self.name}.max_rate_hz")
        limits = [rate for rate in (own, self._rung_rate_hz) if rate]
        if self._worker is not None:
            self._worker.limit_rate(min(limits) if limits else None)

    def _watch(self, worker: FrameWorker) -> EngineRecovery:
        def deadline_s() -> float:
            return self._host.parameters.number("infer_deadline_ms") / 1e3

        def abandon() -> bool:
            with self._lock:  # a step of the ladder may have held it, and the call have returned meanwhile
                if not worker.abandon(deadline_s()):
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
            pipeline = self._host.load(settings, self.name)
            with self._lock:
                if self._worker is worker:
                    self._exchange(worker, pipeline)
                    self._pipeline = pipeline
                    return
            pipeline.close()  # the node was cleaned up meanwhile

        return EngineRecovery(
            self._host.node,
            busy_s=lambda: worker.busy_s,
            deadline_s=deadline_s,
            abandon=abandon,
            reload=reload,
            report=self._host.report,
            give_up=self._host.give_up,
        )

    # On the worker's thread.

    def _publish(self, result: PipelineResult) -> None:
        dropped = self._ledger.take_dropped_since_last()
        try:
            message = features_message(
                self._host.factory,
                result,
                camera_id=self._host.parameters.text("camera_id"),
                dropped_since_last=dropped,
                is_throttling=self._host.thermal().thermal_throttle_active,
            )
            self._publisher.publish(message)
        except Exception:
            self._ledger.return_dropped(dropped)
            raise
        self._latency.add(result.timings)
        if self._degradation is not None:
            self._degradation.published(result.timings.total_ms)

    def _on_frame_error(self, reason: DropReason, error: Exception) -> None:
        self._last_error = str(error)
        self._host.node.get_logger().error(f"frame dropped ({reason.value}): {error}", throttle_duration_sec=5.0)


def _close_late(processor: FrameProcessor) -> None:
    """Give back what a call held that was abandoned and returned after all."""
    if isinstance(processor, RungProcessor):
        processor.pipeline.close()
    elif isinstance(processor, Pipeline):
        processor.close()
