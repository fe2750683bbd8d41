"""The degradation ladder of an engine, taken through `gdi preflight`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gps_denied_inference.cli.checks import Check, Level
from gps_denied_inference.cli.preflight_checks import check_latency, measure_latency
from gps_denied_inference.cli.preflight_engine import EnginePreflight
from gps_denied_inference.core.architectures import ArchitectureRegistry
from gps_denied_inference.core.assembly import assemble_pipeline
from gps_denied_inference.core.engines import MemoryBudget
from gps_denied_inference.core.errors import GpsDeniedInferenceError
from gps_denied_inference.core.governor import Ladder, LoadedLadder, read_ladder
from gps_denied_inference.core.pipeline import Pipeline
from gps_denied_inference.core.settings import EngineSettings, Settings

__all__ = ["preflight_ladder"]


def preflight_ladder(
    path: Path,
    settings: Settings,
    top: EnginePreflight,
    *,
    registry: ArchitectureRegistry,
    memory_budget: MemoryBudget,
    allow_other_space: bool,
    frames: int,
    budget_ms: float,
) -> Check:
    """Read a ladder, load the engines of its rungs beside the normal one, and hold each to the same latency.

    Where the normal engine was refused, each rung's is loaded alone: whether it is prepared is worth knowing anyway.

    Args:
        path: of the ladder.
        settings: of the node.
        top: the normal rung's engine.
        registry: architectures.
        memory_budget: of the node.
        allow_other_space: engines of rungs may live in another space.
        frames: to time.
        budget_ms: bound of the p99 latency.
    """
    engine = top.engine

    def load(changed: EngineSettings) -> Pipeline:
        engines = tuple(changed if item is engine else item for item in settings.engines)
        return assemble_pipeline(replace(settings, engines=engines), engine.name, memory_budget=memory_budget)

    try:
        ladder = read_ladder(path)
        if not registry.lookup(engine.model).spec.output_kind.is_of_one_image:
            text = f"{path}: '{engine.model}' takes two images, and such engines have no ladder; remove the parameter"
            return Check("ladder", Level.FAIL, text)
        if top.pipeline is None:
            return _alone(ladder, engine, load)
        loaded = LoadedLadder(ladder, engine, top.pipeline, load, allow_other_space=allow_other_space)
    except GpsDeniedInferenceError as error:
        return Check("ladder", Level.FAIL, f"{path}: {type(error).__name__}: {error}")
    try:
        text = f"{_names(ladder)} with {len(loaded.engines)} engines"
        for pipeline in loaded.engines[1:]:
            latency = check_latency(measure_latency(pipeline, frames), budget_ms)
            text += f"; {pipeline.model.engine_file or pipeline.model.name}: {latency.text}"
            if latency.level is not Level.OK:
                return Check("ladder", latency.level, text)
        return Check("ladder", Level.OK, text)
    finally:
        loaded.close()


def _alone(ladder: Ladder, engine: EngineSettings, load: Callable[[EngineSettings], Pipeline]) -> Check:
    for rung in ladder.rungs:
        if not rung.is_of_the_same_engine:
            load(rung.applied_to(engine)).close()
    return Check(
        "ladder",
        Level.WARN,
        f"{_names(ladder)}: every engine of a rung is prepared, but the normal one was refused: nothing was timed",
    )


def _names(ladder: Ladder) -> str:
    return ", ".join(f"'{rung.name}'" for rung in ladder.rungs)
