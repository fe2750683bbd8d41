"""Diagnostic task `engine`: what is loaded, what was asked for, and why they differ."""

from __future__ import annotations

from gps_denied_inference.core.health.status import Level, TaskStatus
from gps_denied_inference.core.pipeline import ModelIdentity

__all__ = ["engine_status"]


def engine_status(model: ModelIdentity | None, lifecycle_state: str, configure_error: str) -> TaskStatus:
    """Judge the engine.

    Args:
        model: what is loaded; None while nothing is.
        lifecycle_state: of the node.
        configure_error: why the last configure failed; empty when it did not.

    Returns:
        ERROR after a failed configure, WARN for an ungated engine or a fallback, else OK.
    """
    if model is None:
        if configure_error:
            return TaskStatus("engine", Level.ERROR, configure_error, {"state": lifecycle_state})
        return TaskStatus("engine", Level.OK, "no engine is loaded; configure the node", {"state": lifecycle_state})
    configuration = model.configuration
    values = {
        "state": lifecycle_state,
        "engine": model.engine,
        "model": model.name,
        "weights_sha256": model.weights_sha256,
        "space_id": model.space_id,
        "runtime": model.runtime_label.value,
        "provider": configuration.provider,
        "requested_precision": configuration.requested_precision.value,
        "effective_precision": configuration.effective_precision.value,
        "requested_device": configuration.requested_device,
        "effective_device": configuration.effective_device,
        "fallback_reason": configuration.fallback_reason,
        "gate": "passed" if model.is_gated else "not gated (allow_ungated)",
    }
    complaints = []
    if not model.is_gated:
        complaints.append("the engine did not pass the engine gate (allow_ungated is set: not for flight)")
    if configuration.fallback_reason:
        complaints.append(f"fallback: {configuration.fallback_reason}")
    if complaints:
        return TaskStatus("engine", Level.WARN, "; ".join(complaints), values)
    return TaskStatus("engine", Level.OK, f"{model.name} on {model.runtime_label.value}", values)
