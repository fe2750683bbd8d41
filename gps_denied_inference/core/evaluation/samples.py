"""What a node said of itself while it was recorded."""

from __future__ import annotations

from dataclasses import dataclass

from gps_denied_inference.core.contracts import ThermalState

__all__ = ["HealthSample", "ThermalSample"]


@dataclass(frozen=True, slots=True)
class HealthSample:
    """One EngineHealth message; `time_s` since the first published frame. Level: 0 OK, 1 WARN, 2 ERROR."""

    time_s: float
    level: int
    lifecycle_state: str
    message: str
    rate_hz: float
    latency_p95_ms: float


@dataclass(frozen=True, slots=True)
class ThermalSample:
    """One ThermalState message; `time_s` since the first published frame."""

    time_s: float
    state: ThermalState
