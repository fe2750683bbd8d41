"""Reads how much memory the process takes, and how fast it grows."""

from __future__ import annotations

import functools
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gps_denied_inference.core.governor import used_memory_share
from gps_denied_inference.core.health.memory import MemoryReading

__all__ = ["MemoryMonitor", "resident_bytes"]

_SAMPLE_S = 2.0
_WINDOW_S = 600.0
_SHORTEST_S = 120.0
"""Below this, the settling of allocators looks like growth."""


class MemoryMonitor:
    """Samples while it is asked. Used from one thread.

    Args:
        resident: bytes of the process.
        used_share: of the computer's memory in use.
        gpu_used: bytes of the process on its GPUs, None where nobody knows.
        clock: steady clock, nanoseconds.
    """

    def __init__(
        self,
        *,
        resident: Callable[[], int] | None = None,
        used_share: Callable[[], float] | None = None,
        gpu_used: Callable[[], int | None] | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._resident = resident or resident_bytes
        self._used_share = used_share or used_memory_share
        self._gpu_used = gpu_used or _gpu_used_bytes
        self._clock = clock
        self._samples: deque[tuple[int, int]] = deque(maxlen=round(_WINDOW_S / _SAMPLE_S))

    def forget(self) -> None:
        """Begin anew: loading an engine is no leak."""
        self._samples.clear()

    def read(self, gpu_reserved_bytes: int) -> MemoryReading:
        """Return what is known now.

        Args:
            gpu_reserved_bytes: by the memory budget.
        """
        now_ns, size = self._clock(), self._resident()
        if not self._samples or now_ns - self._samples[-1][0] >= _SAMPLE_S * 1e9:
            self._samples.append((now_ns, size))
        watched_s = (now_ns - self._samples[0][0]) / 1e9
        return MemoryReading(
            resident_bytes=size,
            gpu_reserved_bytes=gpu_reserved_bytes,
            gpu_used_bytes=self._gpu_used(),
            used_share=self._used_share(),
            slope_mib_per_h=self._slope_mib_per_h() if watched_s >= _SHORTEST_S else float("nan"),
            watched_s=watched_s,
        )

    def _slope_mib_per_h(self) -> float:
        samples = np.array(self._samples, np.float64)
        hours = (samples[:, 0] - samples[0, 0]) / 3.6e12
        return float(np.polyfit(hours, samples[:, 1] / 2**20, 1)[0])


def resident_bytes() -> int:
    """Resident memory of this process (RSS), from Linux; 0 where there is no /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _gpu_used_bytes() -> int | None:
    """Bytes of this process on all GPUs, by NVML; None without it (a Jetson shares the computer's memory)."""
    pynvml = _nvml()
    if pynvml is None:
        return None
    try:
        used = 0
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle):
                if process.pid == os.getpid() and process.usedGpuMemory is not None:
                    used += process.usedGpuMemory
    except pynvml.NVMLError:
        return None
    return used


@functools.cache
def _nvml() -> Any:
    """The driver's library, opened once; None where it is not."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # absent, or of another version: pynvml's errors share no base
        return None
    return pynvml
