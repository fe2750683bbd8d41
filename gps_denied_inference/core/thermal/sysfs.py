"""Thermal state from Linux sysfs: works on every Jetson, in containers, without a service."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

from gps_denied_inference.core.contracts import ThermalState
from gps_denied_inference.core.errors import TelemetryUnavailableError
from gps_denied_inference.core.thermal.plausibility import is_plausible_temperature
from gps_denied_inference.core.thermal.sysfs_clocks import cpu_clock, gpu_clock
from gps_denied_inference.core.thermal.sysfs_cooling import active_limits, has_clock_limiters
from gps_denied_inference.core.thermal.sysfs_over_current import OverCurrentCounters
from gps_denied_inference.core.thermal.sysfs_zones import ThermalZone, discover_zones

__all__ = ["SysfsSource", "ThrottleEvidence"]

SYSFS_ROOT = Path("/sys")


class ThrottleEvidence:
    """Why sysfs says that clocks are held down: cooling devices, trip points, over-current alarms.

    Args:
        sysfs_root: where sysfs is mounted.
    """

    def __init__(self, sysfs_root: Path = SYSFS_ROOT) -> None:
        self._sysfs_root = sysfs_root
        self._over_current = OverCurrentCounters(sysfs_root)

    def is_available(self) -> bool:
        """Whether this computer shows anything from which throttling could be told."""
        return (
            has_clock_limiters(self._sysfs_root)
            or self._over_current.are_present()
            or any(zone.limiting_trips_c for zone in discover_zones(self._sysfs_root))
        )

    def causes(self, zone_temperatures_c: dict[ThermalZone, float]) -> tuple[str, ...]:
        """Every reason for throttling now; empty when there is none."""
        trips = []
        for zone, temperature_c in zone_temperatures_c.items():
            trip_c = zone.reached_trip_c(temperature_c)
            if trip_c is not None:
                trips.append(f"{zone.kind} at {temperature_c:.1f} °C has reached its trip point of {trip_c:.1f} °C")
        cooling = tuple(f"cooling device {limit}" for limit in active_limits(self._sysfs_root))
        return (*cooling, *trips, *self._over_current.events_since_last_call())


class SysfsSource:
    """Reads thermal zones, cooling devices, over-current counters, devfreq and cpufreq.

    Everything is discovered at each reading (a few dozen small files), so zones that appear late or go away
    are no special case. Every zone whose temperature is plausible takes part in the throttle decision; the
    CPU's and the GPU's temperatures are those of the hottest zone that names them.

    Args:
        sysfs_root: where sysfs is mounted; tests give a tree of their own.
        clock: steady clock, ns.
    """

    name = "sysfs"

    def __init__(self, sysfs_root: Path = SYSFS_ROOT, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._sysfs_root = sysfs_root
        self._clock = clock
        self._evidence = ThrottleEvidence(sysfs_root)

    def read(self) -> ThermalState:
        """Read everything now.

        Raises:
            TelemetryUnavailableError: no zone, or none with a plausible temperature for the CPU or the GPU, or
                nothing from which throttling could be told: a state is either known or not claimed.
        """
        temperatures_c, doubts = zone_temperatures(self._sysfs_root)
        cpu_c, gpu_c = cpu_and_gpu_temperature(temperatures_c)
        if math.isnan(cpu_c) and math.isnan(gpu_c):
            zones = ", ".join(zone.kind for zone in discover_zones(self._sysfs_root)) or "none"
            doubt = f" ({'; '.join(doubts)})" if doubts else ""
            raise TelemetryUnavailableError(
                f"no CPU or GPU temperature under '{self._sysfs_root}/class/thermal'; "
                f"zones found: {zones}{doubt}; a virtual machine has none, a container needs the host's /sys"
            )
        causes = self._evidence.causes(temperatures_c)
        if not causes and not self._evidence.is_available():
            raise TelemetryUnavailableError(
                f"'{self._sysfs_root}' tells temperatures, but not throttling: it shows no cooling devices that "
                "lower clocks, trip points or over-current counters; give a container the host's /sys, or name "
                "another source (thermal_sources)"
            )
        gpu = gpu_clock(self._sysfs_root)
        clock = gpu if gpu.is_known else cpu_clock(self._sysfs_root)
        if causes and clock.is_known and not math.isnan(clock.ceiling_mhz):
            which = "GPU" if gpu.is_known else "CPU"
            causes = (
                *causes,
                f"{which} clock {clock.current_mhz:.0f} of at most {clock.ceiling_mhz:.0f} MHz",
            )
        return ThermalState(
            cpu_temperature_c=cpu_c,
            gpu_temperature_c=gpu_c,
            thermal_throttle_active=bool(causes),
            measured_clock_mhz=clock.current_mhz,
            measured_at_ns=self._clock(),
            is_telemetry_available=True,
            cause="; ".join((*causes, *doubts)),
            source=self.name,
        )

    def close(self) -> None:
        """Nothing is held open."""


def zone_temperatures(sysfs_root: Path) -> tuple[dict[ThermalZone, float], tuple[str, ...]]:
    """Plausible temperatures by zone, °C, and a remark on each implausible one of the CPU or the GPU."""
    temperatures_c: dict[ThermalZone, float] = {}
    doubts = []
    for zone in discover_zones(sysfs_root):
        temperature_c = zone.temperature_c()
        if temperature_c is None:
            continue
        if is_plausible_temperature(temperature_c):
            temperatures_c[zone] = temperature_c
        elif zone.is_cpu or zone.is_gpu:
            doubts.append(f"implausible temperature of {zone.kind}: {temperature_c:g} °C")
    return temperatures_c, tuple(doubts)


def cpu_and_gpu_temperature(temperatures_c: dict[ThermalZone, float]) -> tuple[float, float]:
    """Hottest CPU zone (else the hottest of the die) and hottest GPU zone, °C; NaN where there is none."""
    cpu = [value for zone, value in temperatures_c.items() if zone.is_cpu]
    die = [value for zone, value in temperatures_c.items() if zone.is_die]
    gpu = [value for zone, value in temperatures_c.items() if zone.is_gpu]
    return max(cpu or die, default=math.nan), max(gpu, default=math.nan)
