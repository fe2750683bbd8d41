"""One engine of a node, taken through `gdi preflight`: loaded as the node loads it, then looked at."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from gps_denied_inference.cli.checks import Check, Level
from gps_denied_inference.cli.preflight_checks import (
    check_fidelity,
    check_gate,
    check_latency,
    check_memory,
    check_placement,
    free_memory_bytes,
    measure_latency,
    measure_matching_latency,
)
from gps_denied_inference.cli.replay_report import model_fields, percentile_fields
from gps_denied_inference.core.architectures import ArchitectureRegistry
from gps_denied_inference.core.assembly import assemble_matcher, assemble_pipeline
from gps_denied_inference.core.engines import MemoryBudget
from gps_denied_inference.core.engines.manifest import ManifestEntry
from gps_denied_inference.core.errors import GpsDeniedInferenceError
from gps_denied_inference.core.evaluation import percentiles
from gps_denied_inference.core.pipeline import MatchingPipeline, ModelIdentity, Pipeline
from gps_denied_inference.core.settings import EngineSettings, Settings

__all__ = ["EnginePreflight", "preflight_engine"]


@dataclass(frozen=True, slots=True)
class EnginePreflight:
    """What was found of an engine.

    Attributes:
        engine: its settings.
        checks: of it alone.
        facts: for JSON.
        pipeline: of one image, which stays loaded; None when it was refused or is no such network.
        model: what was loaded; None when it was refused.
        built_at: ISO 8601, as the manifest says; empty when unknown.
    """

    engine: EngineSettings
    checks: tuple[Check, ...]
    facts: dict[str, Any] = field(default_factory=dict)
    pipeline: Pipeline | None = None
    model: ModelIdentity | None = None
    built_at: str = ""


def preflight_engine(
    settings: Settings,
    engine: EngineSettings,
    entries: dict[str, ManifestEntry],
    *,
    registry: ArchitectureRegistry,
    memory_budget: MemoryBudget,
    loaded: ExitStack,
    frames: int,
    budget_ms: float,
) -> EnginePreflight:
    """Load an engine and look at it. It stays loaded, as beside the others in the node.

    Args:
        settings: of the node.
        engine: one of its engines.
        entries: of the store's manifest, by file name.
        registry: architectures.
        memory_budget: shared by all engines of the node.
        loaded: closes it in the end.
        frames: to time.
        budget_ms: bound of the p99 latency.
    """
    try:
        is_of_one_image = registry.lookup(engine.model).spec.output_kind.is_of_one_image
        network: Pipeline | MatchingPipeline
        if is_of_one_image:
            network = assemble_pipeline(settings, engine.name, memory_budget=memory_budget)
        else:
            network = assemble_matcher(settings, engine.name, memory_budget=memory_budget)
    except GpsDeniedInferenceError as error:
        # The gate, the fidelity check, the runtime or the memory budget refused; its sentence says which.
        refusal = Check("load", Level.FAIL, f"{type(error).__name__}: {error}")
        return EnginePreflight(engine, (refusal,), {"engine": engine.name, "refused_by": type(error).__name__})
    loaded.callback(network.close)
    if isinstance(network, Pipeline):
        latencies_ms = measure_latency(network, frames)
        check = check_latency(latencies_ms, budget_ms)
    else:
        latencies_ms = measure_matching_latency(network, frames)
        check = check_latency(latencies_ms, budget_ms, "pairs")
    model = network.model
    entry = entries.get(model.engine_file)
    device = model.configuration.effective_device
    checks = (
        check_gate(model),
        check_fidelity(model),
        check_placement(model),
        check,
        check_memory(
            entry.memory_bytes if entry is not None else 0,
            settings.gpu_memory_budget_bytes,
            free_memory_bytes(device),
            device,
        ),
    )
    facts = {
        "engine": engine.name,
        **model_fields(model),
        "engine_file": model.engine_file,
        "latency_ms": percentile_fields(percentiles(latencies_ms)),
        "budget_ms": budget_ms,
    }
    pipeline = network if isinstance(network, Pipeline) else None
    return EnginePreflight(engine, checks, facts, pipeline, model, entry.built_at if entry is not None else "")
