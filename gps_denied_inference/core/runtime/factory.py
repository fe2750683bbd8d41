"""Makes the runtime that a label names: checked first, then imported, and no other one."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from gps_denied_inference.core.architectures import ArchitectureRegistry
from gps_denied_inference.core.contracts import RuntimeLabel, ThermalPublisher
from gps_denied_inference.core.errors import RuntimeNotAvailableError
from gps_denied_inference.core.runtime.build_flags import BUILD_FLAG_NAMES, BuildFlags
from gps_denied_inference.core.runtime.options import RuntimeOptions
from gps_denied_inference.core.runtime.protocol import InferenceRuntime

__all__ = ["create_runtime"]

_RUNTIMES = MappingProxyType(
    {
        RuntimeLabel.PYTORCH_FP16: ("gps_denied_inference.core.runtime.pytorch_fp16", "PytorchFp16Runtime"),
        RuntimeLabel.TENSORRT: ("gps_denied_inference.core.runtime.tensorrt_runtime", "TensorrtRuntime"),
        RuntimeLabel.ONNX_TRT_EP: ("gps_denied_inference.core.runtime.onnx_trt_ep", "OnnxTrtEpRuntime"),
        RuntimeLabel.FAKE: ("gps_denied_inference.core.runtime.fake", "FakeRuntime"),
    }
)


def create_runtime(
    label: RuntimeLabel,
    *,
    enabled: frozenset[RuntimeLabel],
    build_flags: BuildFlags,
    options: RuntimeOptions,
    thermal_publisher: ThermalPublisher | None = None,
    architecture_registry: ArchitectureRegistry | None = None,
    clock: Callable[[], int] | None = None,
) -> InferenceRuntime:
    """Make a runtime.

    Args:
        label: which one.
        enabled: those that the settings allow.
        build_flags: those that were built in.
        options: how it is to run.
        thermal_publisher: whom it asks for the thermal state; nobody, when None.
        architecture_registry: where it finds networks; the default registry, when None.
        clock: steady clock, nanoseconds; `time.monotonic_ns`, when None.

    Raises:
        RuntimeNotAvailableError: it is switched off by build flag or setting.
    """
    if not build_flags.allows(label):
        flag = BUILD_FLAG_NAMES[label]
        raise RuntimeNotAvailableError(
            f"runtime '{label.value}' was left out of this build ({flag} is OFF); build with {flag}=ON, or choose "
            "another runtime"
        )
    if label not in enabled:
        names = ", ".join(sorted(item.value for item in enabled)) or "none"
        raise RuntimeNotAvailableError(
            f"runtime '{label.value}' is not enabled in the settings (enabled: {names}); add it to enabled_runtimes, "
            "or choose one of these"
        )
    module_name, class_name = _RUNTIMES[label]
    runtime_class: Any = getattr(importlib.import_module(module_name), class_name)
    runtime: InferenceRuntime = runtime_class(
        device=options.device,
        allow_cpu_fallback=options.allow_cpu_fallback,
        per_frame_debug_log=options.per_frame_debug_log,
        thermal_publisher=thermal_publisher,
        architecture_registry=architecture_registry,
        clock=time.monotonic_ns if clock is None else clock,
        **_own_options(label, options),
    )
    return runtime


def _own_options(label: RuntimeLabel, options: RuntimeOptions) -> dict[str, Any]:
    """Options that only one runtime knows."""
    if label is RuntimeLabel.ONNX_TRT_EP:
        return {
            "providers": options.onnx_providers,
            "intra_op_threads": options.intra_op_threads,
            "allow_spinning": options.allow_spinning,
        }
    if label is RuntimeLabel.TENSORRT:
        return {"flavour": options.tensorrt_flavour}
    return {}
