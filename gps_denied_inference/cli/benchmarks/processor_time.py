"""Processor time of a process, in nanoseconds: the ticks of `/proc/PID/stat` are 10 ms, an idle node uses fewer."""

from __future__ import annotations

import ctypes
import os
import time

__all__ = ["processor_seconds"]


def processor_seconds(pid: int) -> float:
    """Processor time that a process has used, seconds; threads that have ended included (clock_getcpuclockid(3)).

    Raises:
        OSError: there is no such process, or the system has no such clock.
    """
    clock = ctypes.c_int()
    status = ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock))
    if status:
        raise OSError(status, f"{os.strerror(status)}: the clock of process {pid}")
    return time.clock_gettime(clock.value)
