"""Parameters that say when a diagnostic task warns, as the limits of the core."""

from __future__ import annotations

from gps_denied_inference.core.health import InferenceLimits, InputLimits, Level, MemoryLimits, ThermalLimits
from gps_denied_inference.ros.parameters import NodeParameters

__all__ = ["inference_limits", "input_limits", "memory_limits", "thermal_limits"]

_LEVELS = {"warn": Level.WARN, "error": Level.ERROR}


def thermal_limits(parameters: NodeParameters) -> ThermalLimits:
    """Limits of the task `thermal`."""
    return ThermalLimits(
        unknown_level=_LEVELS[parameters.text("thermal_unknown_level")],
        stuck_after_s=parameters.number("thermal_stuck_after_s"),
    )


def inference_limits(parameters: NodeParameters) -> InferenceLimits:
    """Limits of the task `inference`."""
    return InferenceLimits(
        max_frame_age_ms=parameters.number("max_frame_age_ms"),
        overload_warn_share=parameters.number("overload_warn_share"),
        deadline_ms=parameters.number("deadline_ms"),
    )


def input_limits(parameters: NodeParameters) -> InputLimits:
    """Limits of the task `input`."""
    return InputLimits(
        timeout_s=parameters.number("input_timeout_s"),
        min_rate_hz=parameters.number("input_min_rate_hz"),
        max_jitter_ms=parameters.number("input_max_jitter_ms"),
    )


def memory_limits(parameters: NodeParameters) -> MemoryLimits:
    """Limits of the task `memory`."""
    return MemoryLimits(
        max_slope_mib_per_h=parameters.number("memory_max_slope_mib_per_h"),
        warn_share=parameters.number("memory_warn_share"),
        error_share=parameters.number("memory_error_share"),
    )
