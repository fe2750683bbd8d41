"""One node, taken through `gdi preflight`: all of its engines side by side, each with its ladder."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gps_denied_inference.cli.checks import Check
from gps_denied_inference.cli.preflight_engine import preflight_engine
from gps_denied_inference.cli.preflight_ladder import preflight_ladder
from gps_denied_inference.core.architectures import ArchitectureRegistry
from gps_denied_inference.core.engines import MemoryBudget
from gps_denied_inference.core.engines.manifest import ManifestEntry
from gps_denied_inference.core.engines.store import EngineStore
from gps_denied_inference.core.errors import EngineManifestError
from gps_denied_inference.core.pipeline import ModelIdentity
from gps_denied_inference.core.settings import Settings

__all__ = ["NodePreflight", "preflight_node"]


@dataclass(frozen=True, slots=True)
class NodePreflight:
    """What was found of a node.

    Attributes:
        checks: of its engines and ladders; with the engine's name in front where there are several.
        facts: of each engine, for JSON.
        models_of_one_image: what was loaded of such networks.
        built_at: ISO 8601, of the newest engine that was loaded; empty when unknown.
        store_built_at: ISO 8601, of the newest engine of the store; empty when unknown.
    """

    checks: tuple[Check, ...]
    facts: tuple[dict[str, Any], ...]
    models_of_one_image: tuple[ModelIdentity, ...]
    built_at: str
    store_built_at: str


def preflight_node(
    settings: Settings,
    ladders: Mapping[str, Path],
    *,
    registry: ArchitectureRegistry,
    loaded: ExitStack,
    frames: int,
    budget_ms: float,
    allow_other_space: bool,
) -> NodePreflight:
    """Load the engines of a node within its memory budget, and look at each and at its ladder.

    Args:
        settings: of the node.
        ladders: files of degradation ladders, by the name of the engine.
        registry: architectures.
        loaded: closes the engines in the end.
        frames: to time.
        budget_ms: bound of the p99 latency.
        allow_other_space: the ladders' engines may live in another space.
    """
    memory_budget = MemoryBudget(settings.gpu_memory_budget_bytes)
    entries = _manifest_entries(settings)
    found = [
        preflight_engine(
            settings,
            engine,
            entries,
            registry=registry,
            memory_budget=memory_budget,
            loaded=loaded,
            frames=frames,
            budget_ms=budget_ms,
        )
        for engine in settings.engines
    ]
    checks: list[Check] = []
    for item in found:
        own = list(item.checks)
        if item.engine.name in ladders:
            own.append(
                preflight_ladder(
                    ladders[item.engine.name],
                    settings,
                    item,
                    registry=registry,
                    memory_budget=memory_budget,
                    allow_other_space=allow_other_space,
                    frames=frames,
                    budget_ms=budget_ms,
                )
            )
        checks += own if len(found) == 1 else [replace(check, name=f"{item.engine.name} {check.name}") for check in own]
    return NodePreflight(
        tuple(checks),
        tuple(item.facts for item in found),
        tuple(item.pipeline.model for item in found if item.pipeline is not None),
        max((item.built_at for item in found), default=""),
        max((entry.built_at for entry in entries.values()), default=""),
    )


def _manifest_entries(settings: Settings) -> dict[str, ManifestEntry]:
    assert settings.engine_store is not None
    try:
        return {entry.file_name: entry for entry in EngineStore(settings.engine_store).manifest().entries}
    except EngineManifestError:
        return {}  # what is wrong with it is told where an engine is looked for
