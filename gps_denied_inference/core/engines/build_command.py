"""The line that builds an engine, for messages: run as printed, it works."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from gps_denied_inference.core.contracts import PrecisionMode, RuntimeLabel

__all__ = ["build_advice", "build_command", "options_of_build"]

_INTEGER_PRECISIONS = (PrecisionMode.INT8, PrecisionMode.MIXED)


def build_command(
    model: str, runtime: RuntimeLabel, precision: PrecisionMode, store: Path, options: Sequence[str] = ()
) -> str:
    """Return the command for a shell, in any folder.

    Args:
        model: architecture.
        runtime: that is to run it.
        precision: of its arithmetic.
        store: folder of the engine store.
        options: more arguments, e.g. `("--provider", "cuda")`.
    """
    return shlex.join(
        (
            *("gdi", "engine", "build", model),
            *("--runtime", runtime.value),
            *("--precision", precision.value),
            *("--store", str(store.absolute())),
            *options,
        )
    )


def build_advice(
    model: str, runtime: RuntimeLabel, precision: PrecisionMode, store: Path, options: Sequence[str] = ()
) -> str:
    """Return a sentence that ends with the command, and says what it needs besides.

    Arguments are those of `build_command`.
    """
    if precision in _INTEGER_PRECISIONS and runtime is not RuntimeLabel.TENSORRT:
        return (
            f"Runtime '{runtime.value}' computes in fp16 or fp32, never in {precision.value}: change precision, or the "
            "runtime to tensorrt"
        )
    if precision in _INTEGER_PRECISIONS:
        given = (*options, "--onnx", f"{model}_qdq.onnx")
        return (
            f"For {precision.value}, give this network as an ONNX file with Q/DQ nodes ({model}_qdq.onnx stands for "
            "it), or in place of --onnx, with TensorRT 10, prepared images to calibrate with (--calibration-images "
            f"FILE.npy). Then build one: {build_command(model, runtime, precision, store, given)}"
        )
    return f"Build one: {build_command(model, runtime, precision, store, options)}"


def options_of_build(build_flags: Mapping[str, str]) -> tuple[str, ...]:
    """Return the options that build the like of an engine again, of the build flags that the manifest keeps."""
    options: list[str] = []
    for name in ("provider", "flavour"):
        if build_flags.get(name):
            options += [f"--{name}", build_flags[name]]
    return tuple(options)
