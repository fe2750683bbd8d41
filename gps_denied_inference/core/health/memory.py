"""Diagnostic task `memory`: does the process grow?"""

from __future__ import annotations

from dataclasses import dataclass

from gps_denied_inference.core.health.status import Level, TaskStatus

__all__ = ["MemoryLimits", "MemoryReading", "memory_status"]

_MIB = 2**20


@dataclass(frozen=True, slots=True)
class MemoryReading:
    """What is known of the process's memory.

    Attributes:
        resident_bytes: of the process (RSS).
        gpu_reserved_bytes: of the engines, by the memory budget.
        gpu_used_bytes: of the process on all GPUs, as the driver says; None where it does not.
        used_share: of the computer's memory, by all processes, 0 to 1.
        slope_mib_per_h: growth of the resident memory; NaN while it was watched for too short a time.
        watched_s: over which the slope was taken.
    """

    resident_bytes: int
    gpu_reserved_bytes: int
    gpu_used_bytes: int | None
    used_share: float
    slope_mib_per_h: float
    watched_s: float


@dataclass(frozen=True, slots=True)
class MemoryLimits:
    """When memory is worth a word.

    Attributes:
        max_slope_mib_per_h: faster growth is WARN; 0: any is good.
        warn_share, error_share: of the computer's memory in use.
    """

    max_slope_mib_per_h: float = 200.0
    warn_share: float = 0.9
    error_share: float = 0.97


def memory_status(reading: MemoryReading, limits: MemoryLimits) -> TaskStatus:
    """Judge the memory.

    Returns:
        ERROR and WARN by the share of the computer's memory that is in use, WARN for a process that grows. Else OK.
    """
    values = {
        "resident_mib": f"{reading.resident_bytes / _MIB:.1f}",
        "gpu_reserved_mib": f"{reading.gpu_reserved_bytes / _MIB:.1f}",
        "gpu_used_mib": "unknown" if reading.gpu_used_bytes is None else f"{reading.gpu_used_bytes / _MIB:.1f}",
        "used_share": f"{reading.used_share:.3f}",
        "slope_mib_per_h": f"{reading.slope_mib_per_h:.1f}",
        "watched_s": f"{reading.watched_s:.0f}",
    }
    for level, share, name in (
        (Level.ERROR, limits.error_share, "memory_error_share"),
        (Level.WARN, limits.warn_share, "memory_warn_share"),
    ):
        if reading.used_share > share:
            message = f"{reading.used_share:.0%} of the computer's memory is in use, more than {name} = {share:g}"
            return TaskStatus("memory", level, f"{message}; end other processes or load smaller engines", values)
    if 0.0 < limits.max_slope_mib_per_h < reading.slope_mib_per_h:
        message = (
            f"the process grew by {reading.slope_mib_per_h:.0f} MiB/h over {reading.watched_s:.0f} s, faster than "
            f"memory_max_slope_mib_per_h = {limits.max_slope_mib_per_h:g}"
        )
        return TaskStatus("memory", Level.WARN, f"{message}; cleanup and configure the node, and report it", values)
    return TaskStatus("memory", Level.OK, f"{reading.resident_bytes / _MIB:.0f} MiB resident", values)
