"""Parameters that say when a diagnostic task warns, as the limits of the core."""

from __future__ import annotations

from gps_denied_inference.core.health import Level, ThermalLimits
from gps_denied_inference.ros.parameters import NodeParameters

__all__ = ["thermal_limits"]

_LEVELS = {"warn": Level.WARN, "error": Level.ERROR}


def thermal_limits(parameters: NodeParameters) -> ThermalLimits:
    """Limits of the task `thermal`."""
    return ThermalLimits(
        unknown_level=_LEVELS[parameters.text("thermal_unknown_level")],
        stuck_after_s=parameters.number("thermal_stuck_after_s"),
    )
