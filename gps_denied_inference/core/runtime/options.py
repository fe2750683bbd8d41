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
        onnx_providers: execution providers of ONNX Runtime, in order of preference.
        intra_op_threads: threads of one operator of ONNX Runtime on the CPU; 0: one for each core.
        allow_spinning: whether these threads spin while they wait.
        tensorrt_flavour: `tensorrt`, `tensorrt_rtx`, or `auto`: an engine is loaded by the one that built it.
    """

    device: str = "cuda:0"
    allow_cpu_fallback: bool = False
    per_frame_debug_log: bool = False
    onnx_providers: tuple[str, ...] = ("tensorrt", "cuda", "cpu")
    intra_op_threads: int = 0
    allow_spinning: bool = False
    tensorrt_flavour: str = "auto"
