"""Diagnostic task `thermal`: hot, cool, or not known."""

from __future__ import annotations

from gps_denied_inference.core.contracts import ThermalState
from gps_denied_inference.core.health.status import Level, TaskStatus

__all__ = ["thermal_status"]


def thermal_status(state: ThermalState, unknown_level: Level) -> TaskStatus:
    """Judge the temperature.

    Args:
        state: latest reading.
        unknown_level: WARN or ERROR, for a computer whose state is not known. Never OK.

    Returns:
        WARN while the clocks are held down, `unknown_level` without telemetry, else OK.
    """
    values = {
        "is_telemetry_available": str(state.is_telemetry_available).lower(),
        "source": state.source,
        "cpu_temperature_c": f"{state.cpu_temperature_c:.1f}",
        "gpu_temperature_c": f"{state.gpu_temperature_c:.1f}",
        "measured_clock_mhz": f"{state.measured_clock_mhz:.0f}",
        "thermal_throttle_active": str(state.thermal_throttle_active).lower(),
        "cause": state.cause,
    }
    if not state.is_telemetry_available:
        message = f"thermal state unknown ({state.cause}); give the node a thermal source (thermal_sources)"
        return TaskStatus("thermal", max(unknown_level, Level.WARN), message, values)
    if state.thermal_throttle_active:
        return TaskStatus("thermal", Level.WARN, f"throttling: {state.cause}; cool the computer or shed load", values)
    return TaskStatus("thermal", Level.OK, "not throttling", values)
