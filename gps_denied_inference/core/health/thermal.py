"""Diagnostic task `thermal`: hot, cool, or not known."""

from __future__ import annotations

from dataclasses import dataclass

from gps_denied_inference.core.contracts import ThermalState
from gps_denied_inference.core.health.status import Level, TaskStatus

__all__ = ["ThermalLimits", "ThermalReading", "thermal_status"]


@dataclass(frozen=True, slots=True)
class ThermalReading:
    """What the poller knows.

    Attributes:
        state: latest reading.
        source_reason: which source was chosen and why.
        unchanged_s: for how long no temperature and no clock has moved.
    """

    state: ThermalState
    source_reason: str = ""
    unchanged_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ThermalLimits:
    """When heat is worth a word.

    Attributes:
        unknown_level: of a state that is not known: WARN or ERROR, never OK.
        stuck_after_s: readings that stand still for this long are WARN; 0: never.
    """

    unknown_level: Level = Level.WARN
    stuck_after_s: float = 900.0


def thermal_status(reading: ThermalReading, limits: ThermalLimits) -> TaskStatus:
    """Judge the temperature.

    Returns:
        WARN while the clocks are held down, and for readings that stand still; the level of the limits without
        telemetry; else OK.
    """
    state = reading.state
    values = {
        "is_telemetry_available": str(state.is_telemetry_available).lower(),
        "source": state.source,
        "source_choice": reading.source_reason,
        "cpu_temperature_c": f"{state.cpu_temperature_c:.1f}",
        "gpu_temperature_c": f"{state.gpu_temperature_c:.1f}",
        "measured_clock_mhz": f"{state.measured_clock_mhz:.0f}",
        "thermal_throttle_active": str(state.thermal_throttle_active).lower(),
        "cause": state.cause,
        "unchanged_s": f"{reading.unchanged_s:.0f}",
    }
    if not state.is_telemetry_available:
        message = f"thermal state unknown ({state.cause}); give the node a thermal source (thermal_sources)"
        return TaskStatus("thermal", max(limits.unknown_level, Level.WARN), message, values)
    if state.thermal_throttle_active:
        message = f"throttling: {state.cause or 'cause unknown'}; cool the computer or shed load"
        return TaskStatus("thermal", Level.WARN, message, values)
    if 0 < limits.stuck_after_s <= reading.unchanged_s:
        message = (
            f"no temperature and no clock has moved for {reading.unchanged_s:.0f} s: {state.source} may be stuck; "
            "check it against another source (thermal_sources)"
        )
        return TaskStatus("thermal", Level.WARN, message, values)
    return TaskStatus("thermal", Level.OK, "not throttling", values)
