"""The degradation governor at work: a thread that watches the conditions and moves the worker along the ladder."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from gps_denied_inference.core.contracts import ThermalState
from gps_denied_inference.core.errors import GpsDeniedInferenceError
from gps_denied_inference.core.governor import (
    Conditions,
    DeadlineWatch,
    DegradationGovernor,
    GovernorLimits,
    LadderState,
    LoadedLadder,
    read_ladder,
    used_memory_share,
)
from gps_denied_inference.core.pipeline import FrameCounts, FrameWorker, ModelIdentity, Pipeline
from gps_denied_inference.core.settings import EngineSettings, Settings
from gps_denied_inference.ros.parameters import NodeParameters

__all__ = ["Degradation", "load_ladder"]

_PERIOD_S = 0.2
"""How often the conditions are looked at: a fraction of the shortest dwell."""


def load_ladder(
    parameters: NodeParameters,
    settings: Settings,
    name: str,
    top: Pipeline,
    load: Callable[[Settings, str], Pipeline],
) -> LoadedLadder | None:
    """Load every rung of the ladder that the parameters name for an engine; None when they name none.

    Args:
        settings: of the node.
        name: of the engine, which is the normal rung's.
        top: the normal rung's pipeline.
        load: makes the pipeline of an engine of settings.

    Raises:
        GpsDeniedInferenceError: the ladder is wrong, or one of its engines could not be loaded.
    """
    path = parameters.text(f"{name}.degradation_ladder")
    if not path:
        return None
    engine = settings.engine(name)

    def load_engine(changed: EngineSettings) -> Pipeline:
        engines = tuple(changed if item is engine else item for item in settings.engines)
        return load(replace(settings, engines=engines), name)

    return LoadedLadder(
        read_ladder(Path(path).expanduser()),
        engine,
        top,
        load_engine,
        allow_other_space=parameters.flag("degradation_allow_other_space"),
    )


class Degradation:
    """Moves a worker along a loaded ladder while the node is active.

    A step waits for the frame in work and swaps between two frames; the rung stays over a deactivation.

    Args:
        loaded: the ladder with its engines; closed by `close`.
        worker: begins on the normal rung.
        parameters: dwell, stable time and limits; read at each look.
        exchange: held while the worker's processor is exchanged; `load_engine` takes the same.
        limit_rate: told the rate of each rung, Hz; None for none.
        thermal: the latest state, without waiting.
        counts: of the worker's ledger.
        on_model: called on the governor's thread when another engine is in work.
        logger: of the node.
    """

    def __init__(
        self,
        loaded: LoadedLadder,
        worker: FrameWorker,
        parameters: NodeParameters,
        *,
        exchange: AbstractContextManager[Any],
        limit_rate: Callable[[float | None], None],
        thermal: Callable[[], ThermalState],
        counts: Callable[[], FrameCounts],
        on_model: Callable[[ModelIdentity], None],
        logger: Any,
    ) -> None:
        self._loaded = loaded
        self._worker = worker
        self._parameters = parameters
        self._exchange = exchange
        self._limit_rate = limit_rate
        self._thermal = thermal
        self._counts = counts
        self._on_model = on_model
        self._logger = logger
        self._watch = DeadlineWatch()
        self._governor = DegradationGovernor(len(loaded.ladder.rungs), self._limits())
        self._rung, self._steps = 0, 0
        self._reason, self._error = "", ""
        self._rung_since_ns = time.monotonic_ns()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._put_to_work(0)

    @property
    def model(self) -> ModelIdentity:
        """What the rung in work runs."""
        return self._loaded.pipeline_of(self._rung).model

    @property
    def has_top_engine(self) -> bool:
        """The rung in work runs the normal rung's engine."""
        return self._loaded.pipeline_of(self._rung) is self._loaded.pipeline_of(0)

    def start(self) -> None:
        """Begin to watch; harmless while it does."""
        if self._thread is None:
            self._watch.forget()
            self._stop = threading.Event()
            self._thread = threading.Thread(target=self._run, args=(self._stop,), name="degradation", daemon=True)
            self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Stop watching, and wait for a step in progress at most this long. Idempotent."""
        thread, self._thread = self._thread, None
        self._stop.set()
        if thread is not None:
            thread.join(timeout_s)

    def close(self) -> None:
        """Release the engines of the rungs. The normal one stays its owner's."""
        self._loaded.close()

    def published(self, latency_ms: float) -> None:
        """Count a published frame by its age; on the worker's thread."""
        self._watch.published(latency_ms, self._parameters.number("deadline_ms"))

    def replace_top(self, pipeline: Pipeline) -> None:
        """Put a new engine on the normal rung and on those that share it. Called with `exchange` held.

        Raises:
            GpsDeniedInferenceError: a rung has an engine of another space, or the network did not return in time;
                nothing has changed.
        """
        old = self._loaded.pipeline_of(0)
        self._loaded.replace_top(pipeline)
        try:
            self._put_to_work(self._rung)
        except GpsDeniedInferenceError:
            self._loaded.replace_top(old)
            raise

    def state(self) -> LadderState:
        """Return where the node stands on its ladder."""
        rungs = self._loaded.ladder.rungs
        rung = rungs[self._rung]
        return LadderState(
            rung=self._rung,
            rung_count=len(rungs),
            name=rung.name,
            summary=rung.summary(),
            top_name=rungs[0].name,
            reason=self._reason,
            steps=self._steps,
            rung_s=(time.monotonic_ns() - self._rung_since_ns) / 1e9,
            to_step_up_s=self._governor.seconds_to_step_up,
            error=self._error,
        )

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(_PERIOD_S):
            try:
                self._look(stop)
            except Exception as error:  # whatever it is, heat must still be answered at the next look
                self._error = f"{type(error).__name__}: {error}"
                self._logger.error(f"degradation: {self._error}", throttle_duration_sec=5.0)

    def _look(self, stop: threading.Event) -> None:
        if self._worker.is_abandoned:
            return  # an engine that hung is being loaded again; a step would put it back to work
        now_ns = time.monotonic_ns()
        thermal = self._thermal()
        self._governor.limits = self._limits()
        decision = self._governor.decide(
            now_ns,
            Conditions(
                is_throttling=thermal.thermal_throttle_active,
                throttle_cause=thermal.cause,
                miss_ratio=self._watch.miss_ratio(now_ns, self._counts()),
                memory_share=used_memory_share(),
            ),
        )
        if decision.step:
            self._reason = decision.reason
        if decision.rung != self._rung:  # a step that failed is tried again
            with self._exchange:
                # Looked at again: the watchdog may have been first.
                if not stop.is_set() and not self._worker.is_abandoned:
                    self._take_step(decision.rung)

    def _take_step(self, rung: int) -> None:
        before, model_before = self._rung, self.model
        try:
            self._put_to_work(rung)
        except GpsDeniedInferenceError as error:
            self._error = str(error)
            self._logger.error(f"degradation: {error}", throttle_duration_sec=5.0)
            return
        self._rung, self._error = rung, ""
        self._steps += abs(rung - before)
        self._rung_since_ns = time.monotonic_ns()
        self._watch.forget()
        state = self.state()
        text = f"rung {rung} of {state.rung_count - 1}, '{state.name}' ({state.summary}): {self._reason}"
        if rung > before:
            self._logger.warning(f"degradation: down to {text}")
        else:
            self._logger.info(f"degradation: up to {text}")
        if self.model is not model_before:
            self._on_model(self.model)

    def _put_to_work(self, rung: int) -> None:
        self._worker.swap(self._loaded.processor_of(rung), self._parameters.number("deactivate_timeout_s"))
        self._limit_rate(self._loaded.ladder.rungs[rung].max_rate_hz)

    def _limits(self) -> GovernorLimits:
        return GovernorLimits(
            dwell_s=self._parameters.number("degradation_dwell_s"),
            stable_s=self._parameters.number("degradation_stable_s"),
            miss_ratio=self._parameters.number("degradation_miss_ratio"),
            memory_share=self._parameters.number("degradation_memory_share"),
        )
