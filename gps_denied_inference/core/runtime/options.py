"""Settings that runtimes share."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RuntimeOptions"]


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """How a runtime is to run.

    Attributes:
        device: where, e.g. `cuda:0` or `cpu`.
        allow_cpu_fallback: without that device, run in FP32 on the CPU (and say so) instead of refusing.
        per_frame_debug_log: write one DEBUG line a frame, with its latencies.
    """

    device: str = "cuda:0"
    allow_cpu_fallback: bool = False
    per_frame_debug_log: bool = False
