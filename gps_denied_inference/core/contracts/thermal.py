"""What is known of the computer's temperature and clocks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

__all__ = ["UNKNOWN_THERMAL_STATE", "ThermalPublisher", "ThermalState"]


@dataclass(frozen=True, slots=True)
class ThermalState:
    """One reading of the computer's thermal sensors.

    Attributes:
        cpu_temperature_c, gpu_temperature_c: degrees Celsius; NaN when unknown.
        thermal_throttle_active: the clocks are held down because of heat or power.
        measured_clock_mhz: of the GPU, else of the CPU; NaN when unknown.
        measured_at_ns: steady clock of the reading; 0 when nothing was read.
        is_telemetry_available: False makes every other field meaningless but the cause.
        cause: why it throttles, or why there is no telemetry; empty otherwise.
        source: which source was read, e.g. `nvml`, `sysfs`; empty without telemetry.
    """

    cpu_temperature_c: float = math.nan
    gpu_temperature_c: float = math.nan
    thermal_throttle_active: bool = False
    measured_clock_mhz: float = math.nan
    measured_at_ns: int = 0
    is_telemetry_available: bool = False
    cause: str = ""
    source: str = ""


UNKNOWN_THERMAL_STATE = ThermalState(cause="no thermal source is configured")
"""Default-safe: nothing is known, so nothing is claimed. Diagnostics show it as unknown, never as OK."""


@runtime_checkable
class ThermalPublisher(Protocol):
    """Whoever knows the latest thermal state."""

    def snapshot(self) -> ThermalState:
        """Return the latest reading without blocking."""
        ...
