"""Diagnostic task `engine`: what is loaded, what was asked for, and why they differ."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gps_denied_inference.core.engines import FidelityReport
from gps_denied_inference.core.health.status import Level, TaskStatus
from gps_denied_inference.core.pipeline import ModelIdentity

__all__ = ["engine_status", "fidelity_summary"]


def engine_status(
    model: ModelIdentity | None,
    lifecycle_state: str,
    failure: str,
    swaps: Sequence[str] = (),
    reloads: int = 0,
    requested_runtime: str = "",
    runtime_reason: str = "",
) -> TaskStatus:
    """Judge the engine.

    Args:
        model: what is loaded; None while nothing is.
        lifecycle_state: of the node.
        failure: why no engine works: the last configure failed, or the engine hung; empty when it is well.
        swaps: what became of the last requests to replace the engine, oldest first.
        reloads: how often it was loaded again because it had hung.
        requested_runtime: of the settings; empty: that of the model.
        runtime_reason: why another runtime is in work than the settings ask for; empty when none is.

    Returns:
        ERROR after a failed configure or a hang, WARN for an ungated engine or a fallback, else OK.
    """
    if failure:
        # A ladder still knows its engines while one of them hangs: the model is no sign of health.
        is_configured = lifecycle_state in ("inactive", "active")
        remedy = (
            "raise infer_deadline_ms if it is only slow" if is_configured else "configure again once that is put right"
        )
        return TaskStatus("engine", Level.ERROR, f"{failure}; {remedy}", {"state": lifecycle_state})
    if model is None:
        return TaskStatus("engine", Level.OK, "no engine is loaded; configure the node", {"state": lifecycle_state})
    configuration = model.configuration
    values = {
        "state": lifecycle_state,
        "engine": model.engine,
        "model": model.name,
        "weights_sha256": model.weights_sha256,
        "space_id": model.space_id,
        "requested_runtime": requested_runtime or model.runtime_label.value,
        "effective_runtime": model.runtime_label.value,
        "runtime_reason": runtime_reason,
        "requested_provider": configuration.requested_provider or configuration.provider,
        "effective_provider": configuration.provider,
        "requested_precision": configuration.requested_precision.value,
        "effective_precision": configuration.effective_precision.value,
        "requested_device": configuration.requested_device,
        "effective_device": configuration.effective_device,
        "fallback_reason": configuration.fallback_reason,
        "engine_file": model.engine_file,
        "engine_sha256": model.engine_sha256,
        "gate": "passed" if model.is_gated else f"not gated (allow_ungated): {model.gate_complaint}",
        "fidelity": "not measured" if model.fidelity is None else fidelity_summary(model.fidelity),
        "reloads_after_hang": str(reloads),
        **{f"swap_{number}": outcome for number, outcome in enumerate(swaps, start=1)},
    }
    complaints = []
    if not model.is_gated:
        complaints.append(
            "the engine did not pass the engine gate (allow_ungated is set: not for flight); build one with "
            "gdi engine build"
        )
    if configuration.fallback_reason:
        complaints.append(f"fallback: {configuration.fallback_reason}; give what is missing, or request what runs")
    if complaints:
        return TaskStatus("engine", Level.WARN, "; ".join(complaints), values)
    return TaskStatus("engine", Level.OK, f"{model.name} on {model.runtime_label.value}", values)


def fidelity_summary(report: FidelityReport) -> str:
    """Say in words how near an engine's outputs are to the FP32 reference."""
    text = f"{report.metric} min {report.minimum:.6f}, mean {report.mean:.6f}"
    if not math.isnan(report.repeatability):
        text += f", repeatability {report.repeatability:.3f}"
    return f"{text}, over {report.count} golden {'pairs' if report.is_of_pairs else 'images'}"
