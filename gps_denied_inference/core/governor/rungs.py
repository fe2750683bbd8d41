"""The ladder with its engines: every one loaded, checked and warmed before the first frame."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from gps_denied_inference.core.contracts import Frame
from gps_denied_inference.core.errors import GpsDeniedInferenceError, SettingsError
from gps_denied_inference.core.governor.ladder import Ladder, Rung
from gps_denied_inference.core.pipeline import ModelIdentity, Pipeline, PipelineResult
from gps_denied_inference.core.settings import EngineSettings

__all__ = ["LadderState", "LoadedLadder", "RungProcessor"]


@dataclass(frozen=True, slots=True)
class LadderState:
    """Where a node stands on its ladder, for the reports.

    Attributes:
        rung: in work; 0 is the normal one.
        rung_count: of the ladder; 0 without one.
        name: of the rung in work.
        summary: what it changes, in words.
        top_name: of the normal rung.
        reason: of the last step; empty before the first.
        steps: down and up, since configure.
        rung_s: for how long the rung has been in work, seconds.
        to_step_up_s: for how much longer the conditions must stay good before a step up, seconds.
        error: why the last step could not be taken; empty when it could.
    """

    rung: int = 0
    rung_count: int = 0
    name: str = ""
    summary: str = ""
    top_name: str = ""
    reason: str = ""
    steps: int = 0
    rung_s: float = 0.0
    to_step_up_s: float = 0.0
    error: str = ""


class RungProcessor:
    """What the worker drives while a rung is in work: the rung's engine, asked for what the rung allows."""

    def __init__(self, ladder: LoadedLadder, pipeline: Pipeline, top_k: int | None) -> None:
        self.pipeline = pipeline
        self._ladder = ladder
        self._top_k = top_k

    def warm_up_thread(self) -> None:
        """Warm every engine of the ladder on this thread: a step must not cost a frame."""
        self._ladder.warm_up_thread()

    def process(self, frame: Frame, received_ns: int | None = None) -> PipelineResult:
        return self.pipeline.process(frame, received_ns, top_k=self._top_k)


class LoadedLadder:
    """Owns the engines that rungs have for themselves; the normal one's pipeline stays its owner's.

    Rungs of equal engine settings share one engine, so that a rung that changes only `top_k` or the rate costs no
    memory.

    Args:
        ladder: what to load.
        engine: settings of the normal rung.
        top: its pipeline.
        load: makes the pipeline of other settings: gated, checked, warmed and within the memory budget.
        allow_other_space: take rungs whose descriptors cannot be compared with the normal ones.

    Raises:
        SettingsError: a rung's network gives another kind of output, or its descriptors live in another space.
        GpsDeniedInferenceError: an engine could not be loaded; those that were are closed.
    """

    def __init__(
        self,
        ladder: Ladder,
        engine: EngineSettings,
        top: Pipeline,
        load: Callable[[EngineSettings], Pipeline],
        *,
        allow_other_space: bool = False,
    ) -> None:
        self.ladder = ladder
        self._allow_other_space = allow_other_space
        self._top_engine = engine
        self._top = top
        self._own: dict[EngineSettings, Pipeline] = {}
        self._lock = threading.Lock()
        self._warmed: tuple[threading.Thread, tuple[Pipeline, ...]] | None = None
        try:
            for index, rung in enumerate(ladder.rungs):
                self._load_rung(index, rung, load)
        except BaseException:
            self.close()
            raise

    @property
    def engines(self) -> tuple[Pipeline, ...]:
        """Every engine once, the normal one first."""
        return (self._top, *self._own.values())

    def pipeline_of(self, rung: int) -> Pipeline:
        """Return the pipeline that a rung runs."""
        if self.ladder.rungs[rung].is_of_the_same_engine:
            return self._top
        return self._own.get(self._key(self.ladder.rungs[rung]), self._top)

    def processor_of(self, rung: int) -> RungProcessor:
        """Return what the worker is to drive on a rung."""
        wanted, own = self.ladder.rungs[rung].top_k, self._top_engine.top_k
        top_k = min(wanted, own) if wanted and own else wanted
        return RungProcessor(self, self.pipeline_of(rung), top_k)

    def replace_top(self, pipeline: Pipeline) -> None:
        """Put another engine on the normal rung, and on every rung that shares its engine.

        Raises:
            SettingsError: a rung has an engine of its own whose descriptors live in another space than the new one's.
        """
        for index in range(1, len(self.ladder.rungs)):
            other = self.pipeline_of(index)
            if other is not self._top:
                self._check(index, other.model, pipeline.model)
        self._top = pipeline

    def warm_up_thread(self) -> None:
        """Warm the engines on the calling thread, those that it has warmed before left out.

        Raises:
            GpsDeniedInferenceError: an engine failed; the others are warmed.
        """
        thread = threading.current_thread()
        done: tuple[Pipeline, ...] = ()
        with self._lock:
            if self._warmed is not None and self._warmed[0] is thread:
                done = self._warmed[1]
            self._warmed = (thread, self.engines)
        failure: GpsDeniedInferenceError | None = None
        for pipeline in self.engines:
            if pipeline not in done:
                try:
                    pipeline.warm_up_thread()
                except GpsDeniedInferenceError as error:
                    failure = error
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Release the engines that rungs have for themselves. Idempotent."""
        while self._own:
            self._own.popitem()[1].close()

    def _load_rung(self, index: int, rung: Rung, load: Callable[[EngineSettings], Pipeline]) -> None:
        key = self._key(rung)
        if key == _without_amount(self._top_engine) or key in self._own:
            return
        pipeline = load(replace(key, top_k=self._top_engine.top_k))
        self._own[key] = pipeline
        self._check(index, pipeline.model, self._top.model)

    def _key(self, rung: Rung) -> EngineSettings:
        return _without_amount(rung.applied_to(self._top_engine))

    def _check(self, index: int, model: ModelIdentity, top: ModelIdentity) -> None:
        where = f"rungs[{index}] ('{self.ladder.rungs[index].name}')"
        if model.spec.output_kind is not top.spec.output_kind:
            kind = top.spec.output_kind.value
            raise SettingsError(where, model.name, f"a network that gives a {kind}, as the normal rung's")
        if model.space_id != top.space_id and not self._allow_other_space:
            raise SettingsError(
                where,
                model.space_id,
                f"an engine of space {top.space_id}, as the normal rung's: other descriptors cannot be compared with "
                "the map's. Set degradation_allow_other_space when whoever uses them follows space_id",
            )


def _without_amount(engine: EngineSettings) -> EngineSettings:
    return replace(engine, top_k=0)
