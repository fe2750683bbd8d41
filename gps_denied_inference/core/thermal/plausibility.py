"""Telemetry that cannot be true is treated as unknown, with the cause."""

from __future__ import annotations

import math
from dataclasses import replace

from gps_denied_inference.core.contracts import ThermalState

__all__ = ["is_plausible_temperature", "plausible_state"]

# Industrial silicon is specified from -40 °C to a junction of 105 °C, and Jetson modules shut down below 110
# °C; the margin admits a cold start aloft and a sensor's error. Drivers report an offline sensor as -256 °C
# (jetson-stats, `TEMPERATURE_OFFLINE`) or as 0 K.
_LOWEST_C = -60.0
_HIGHEST_C = 150.0


def is_plausible_temperature(temperature_c: float) -> bool:
    """Whether a working computer can have this temperature; False for NaN."""
    return _LOWEST_C <= temperature_c <= _HIGHEST_C


def plausible_state(state: ThermalState) -> ThermalState:
    """Blank the temperatures that cannot be true; without any left, say that there is no telemetry.

    A temperature that is NaN counts as not measured. A negative or non-finite clock becomes NaN.
    """
    if not state.is_telemetry_available:
        return state
    doubts: list[str] = []
    temperatures: list[float] = []
    for label, temperature_c in (("CPU", state.cpu_temperature_c), ("GPU", state.gpu_temperature_c)):
        if is_plausible_temperature(temperature_c):
            temperatures.append(temperature_c)
            continue
        temperatures.append(math.nan)
        if not math.isnan(temperature_c):
            doubts.append(f"implausible {label} temperature {temperature_c:g} °C")
    if all(math.isnan(temperature_c) for temperature_c in temperatures):
        why = "; ".join(doubts) or "neither the CPU nor the GPU temperature is known (NaN)"
        return ThermalState(measured_at_ns=state.measured_at_ns, cause=f"{state.source or 'thermal source'}: {why}")
    clock_mhz = state.measured_clock_mhz
    return replace(
        state,
        cpu_temperature_c=temperatures[0],
        gpu_temperature_c=temperatures[1],
        measured_clock_mhz=clock_mhz if math.isfinite(clock_mhz) and clock_mhz >= 0 else math.nan,
        cause="; ".join(part for part in (state.cause, *doubts) if part),
    )
