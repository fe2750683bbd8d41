"""Cooling devices: what the kernel holds down, and how far."""

from __future__ import annotations

import re
from pathlib import Path

from gps_denied_inference.core.thermal.sysfs_files import read_integer, read_text, subfolders

__all__ = ["active_limits", "has_clock_limiters", "is_clock_limiter"]

# Naming habits of the kernel's drivers: cpufreq-cpu0, thermal-cpufreq-0, devfreq-17000000.gpu,
# thermal-devfreq-0, gpu-throttle-alert (Orin), cpu-balanced (Xavier, TX2), Processor (ACPI),
# intel_powerclamp, thermal-idle-0. Fans and hot-surface-alert cool or warn without lowering a clock.
_LIMITER = re.compile(r"cpufreq|devfreq|throttle|balanced|^processor$|powerclamp|thermal-idle", re.IGNORECASE)


def is_clock_limiter(kind: str) -> bool:
    """Whether a cooling device of this type lowers clocks, instead of driving a fan or raising an alert."""
    return bool(_LIMITER.search(kind))


def has_clock_limiters(sysfs_root: Path) -> bool:
    """Whether the kernel shows any clock limiter whose state can be read."""
    return any(True for _ in _limiters(sysfs_root))


def active_limits(sysfs_root: Path) -> tuple[str, ...]:
    """Each clock limiter that is engaged, as `gpu-throttle-alert 1/1`."""
    return tuple(f"{kind} {state}/{limit}" for kind, state, limit in _limiters(sysfs_root) if state > 0)


def _limiters(sysfs_root: Path) -> list[tuple[str, int, str]]:
    found = []
    for path in subfolders(sysfs_root / "class" / "thermal", "cooling_device*"):
        kind = read_text(path / "type")
        state = read_integer(path / "cur_state")
        if kind and state is not None and is_clock_limiter(kind):
            found.append((kind, state, read_text(path / "max_state") or "?"))
    return found
