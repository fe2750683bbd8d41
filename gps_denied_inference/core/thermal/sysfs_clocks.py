"""Clocks from devfreq (GPU) and cpufreq (CPU), MHz."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from gps_denied_inference.core.thermal.sysfs_files import read_integer, subfolders

__all__ = ["Clock", "cpu_clock", "gpu_clock"]

# devfreq devices of NVIDIA's integrated GPUs: 17000000.gpu, 17000000.ga10b (Orin), 17000000.gv11b (Xavier),
# 17000000.gp10b (TX2), 57000000.gpu (Nano), gpu-gpc-0 (Thor).
_GPU_DEVICE = re.compile(r"gpu|\bg[a-z]\d+b\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Clock:
    """A clock and its present ceiling, MHz; NaN where unknown."""

    current_mhz: float = math.nan
    ceiling_mhz: float = math.nan

    @property
    def is_known(self) -> bool:
        return not math.isnan(self.current_mhz)


def gpu_clock(sysfs_root: Path) -> Clock:
    """Clock of the fastest GPU that devfreq knows (attributes in Hz)."""
    devices = [path for path in subfolders(sysfs_root / "class" / "devfreq", "*") if _GPU_DEVICE.search(path.name)]
    return _fastest([_clock(path / "cur_freq", path / "max_freq", 1e-6) for path in devices])


def cpu_clock(sysfs_root: Path) -> Clock:
    """Clock of the fastest core that is online (attributes in kHz)."""
    policies = [path / "cpufreq" for path in subfolders(sysfs_root / "devices" / "system" / "cpu", "cpu[0-9]*")]
    return _fastest([_clock(path / "scaling_cur_freq", path / "scaling_max_freq", 1e-3) for path in policies])


def _clock(current: Path, ceiling: Path, mhz_per_unit: float) -> Clock:
    current_value, ceiling_value = read_integer(current), read_integer(ceiling)
    return Clock(
        math.nan if current_value is None else current_value * mhz_per_unit,
        math.nan if ceiling_value is None else ceiling_value * mhz_per_unit,
    )


def _fastest(clocks: list[Clock]) -> Clock:
    return max((clock for clock in clocks if clock.is_known), key=lambda clock: clock.current_mhz, default=Clock())
