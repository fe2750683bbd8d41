"""What the log says of an engine that was loaded, wherever a node loads one."""

from __future__ import annotations

from typing import Any

from gps_denied_inference.core.health import fidelity_summary
from gps_denied_inference.core.pipeline import ModelIdentity

__all__ = ["log_loaded_model"]


def log_loaded_model(logger: Any, model: ModelIdentity, title: str) -> None:
    """Say what was loaded and how faithful it is, and what is not as it should be on a flight.

    Args:
        logger: of the node.
        model: what was loaded.
        title: what it is for.
    """
    configuration = model.configuration
    logger.info(
        f"{title}: {model.name} ({model.runtime_label.value}, {configuration.effective_precision.value} on "
        f"{configuration.effective_device}), space {model.space_id}"
    )
    if configuration.fallback_reason:
        logger.warning(f"fallback: {configuration.fallback_reason}")
    if model.fidelity is not None:
        logger.info(f"fidelity against FP32: {fidelity_summary(model.fidelity)}")
    if not model.is_gated:
        logger.warning(
            f"not for flight: this engine did not pass the gate, but allow_ungated is set ({model.gate_complaint})"
        )
