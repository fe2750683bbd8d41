"""The one engine of a node that matches: loaded, or refused with what would be right."""

from __future__ import annotations

from typing import Any

from gps_denied_inference.core.assembly import assemble_matcher
from gps_denied_inference.core.contracts import OutputKind
from gps_denied_inference.core.engines import MemoryBudget
from gps_denied_inference.core.errors import SettingsError
from gps_denied_inference.core.pipeline import MatchingPipeline
from gps_denied_inference.core.settings import Settings
from gps_denied_inference.ros.loaded_model_log import log_loaded_model

__all__ = ["load_matching_engine"]

_WANTED = {
    OutputKind.MATCHES: "a network that matches features; this one takes images",
    OutputKind.CORRESPONDENCES: "a network that takes two images; this one matches features",
}


def load_matching_engine(
    settings: Settings, kind: OutputKind, logger: Any, title: str, memory_budget: MemoryBudget | None = None
) -> MatchingPipeline:
    """Load the engine of the settings through gate and fidelity check, and say in the log what it is.

    Args:
        settings: of the node.
        kind: what the node needs: `MATCHES` or `CORRESPONDENCES`.
        logger: of the node.
        title: what the engine is for.
        memory_budget: one of its own, when None.

    Raises:
        SettingsError: there is not exactly one engine, or its network is of another kind.
        GpsDeniedInferenceError: as `assemble_matcher`.
    """
    if len(settings.engines) != 1:
        raise SettingsError("engines", [engine.name for engine in settings.engines], "one name")
    network = assemble_matcher(settings, memory_budget=memory_budget)
    if network.model.spec.output_kind is not kind:
        network.close()
        raise SettingsError(f"{settings.engines[0].name}.model", network.model.name, _WANTED[kind])
    log_loaded_model(logger, network.model, title)
    return network
