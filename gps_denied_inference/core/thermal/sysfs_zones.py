"""Thermal zones with their trip points (Linux `Documentation/driver-api/thermal/sysfs-api.rst`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from gps_denied_inference.core.thermal.plausibility import is_plausible_temperature
from gps_denied_inference.core.thermal.sysfs_cooling import is_clock_limiter
from gps_denied_inference.core.thermal.sysfs_files import read_integer, read_text, subfolders

__all__ = ["ThermalZone", "discover_zones"]

# Names seen: cpu-thermal, CPU-therm, BCPU-therm, x86_pkg_temp, coretemp; gpu-thermal, GPU-therm.
_CPU = re.compile(r"cpu|x86_pkg|core|k10temp", re.IGNORECASE)
_GPU = re.compile(r"gpu", re.IGNORECASE)
# Read as the CPU's where no zone names the CPU: hottest point of the die, SoC, ACPI.
_DIE = re.compile(r"^tj|soc|acpitz|^ao-?therm", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ThermalZone:
    """One thermal zone.

    Attributes:
        path: its folder.
        kind: what the `type` attribute says, e.g. `cpu-thermal`.
        limiting_trips_c: passive trip points at which the kernel lowers clocks, °C, ascending.
    """

    path: Path
    kind: str
    limiting_trips_c: tuple[float, ...]

    @property
    def is_cpu(self) -> bool:
        return bool(_CPU.search(self.kind)) and not self.is_gpu

    @property
    def is_gpu(self) -> bool:
        return bool(_GPU.search(self.kind))

    @property
    def is_die(self) -> bool:
        return bool(_DIE.search(self.kind))

    def temperature_c(self) -> float | None:
        """Temperature in °C as it is reported, plausible or not; None while the sensor is powered down."""
        millidegrees = read_integer(self.path / "temp")
        return None if millidegrees is None else millidegrees / 1000.0

    def reached_trip_c(self, temperature_c: float) -> float | None:
        """The highest limiting trip point that this temperature has reached."""
        return max((trip_c for trip_c in self.limiting_trips_c if temperature_c >= trip_c), default=None)


def discover_zones(sysfs_root: Path) -> tuple[ThermalZone, ...]:
    """Find every thermal zone that names its type."""
    zones = []
    for path in subfolders(sysfs_root / "class" / "thermal", "thermal_zone*"):
        kind = read_text(path / "type")
        if kind:
            zones.append(ThermalZone(path, kind, _limiting_trips_c(path)))
    return tuple(zones)


def _limiting_trips_c(zone: Path) -> tuple[float, ...]:
    """Passive trips that are bound to something that lowers clocks.

    On Orin the 70 °C passive trip of the CPU zone is bound to `hot-surface-alert` alone, which lowers
    nothing; the clocks fall at 99 °C. A zone that shows no bindings at all is taken at its word.
    """
    bindings = _bindings(zone)
    trips_c = []
    for type_path in subfolders(zone, "trip_point_*_type"):
        index = type_path.name.removeprefix("trip_point_").removesuffix("_type")
        trip = read_integer(zone / f"trip_point_{index}_temp")
        # x86_pkg_temp has writable passive trips at 0 or -274 °C that mean "none".
        is_meant = trip is not None and trip > 0 and is_plausible_temperature(trip / 1000.0)
        if trip is None or not is_meant or read_text(type_path) != "passive":
            continue
        if not bindings or any(is_clock_limiter(kind) for kind in bindings.get(index, ())):
            trips_c.append(trip / 1000.0)
    return tuple(sorted(trips_c))


def _bindings(zone: Path) -> dict[str, list[str]]:
    """Trip index to the types of the cooling devices bound to it."""
    bindings: dict[str, list[str]] = {}
    for trip_path in subfolders(zone, "cdev*_trip_point"):
        device = zone / trip_path.name.removesuffix("_trip_point")
        index = read_text(trip_path)
        kind = read_text(device / "type")
        if index is not None and kind:
            bindings.setdefault(index, []).append(kind)
    return bindings
