"""Whether a runtime can be used on this computer, and if not, why."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gps_denied_inference.core.contracts import RuntimeLabel
from gps_denied_inference.core.engines.host import HostTuple
from gps_denied_inference.core.errors import GpsDeniedInferenceError
from gps_denied_inference.core.optional import require
from gps_denied_inference.core.runtime import BuildFlags, RuntimeOptions, create_runtime
from gps_denied_inference.core.runtime.onnx_errors import onnxruntime_errors, require_onnxruntime
from gps_denied_inference.core.runtime.onnx_network import SessionThreads, make_session
from gps_denied_inference.core.runtime.onnx_providers import PROVIDERS
from gps_denied_inference.core.runtime.tensorrt_binding import load_binding

__all__ = ["RuntimeProbe", "probe_runtime"]


# The ONNX model y = Identity(x) of one float32, IR 8, opset 13: the package onnx is not needed to run networks.
_IDENTITY = bytes.fromhex(
    "080812003a370a100a017812017922084964656e746974791201675a0f0a0178120a0a08080112040a020801620f0a0179120a0a08080112"
    "040a02080142040a00100d"
)


@dataclass(frozen=True, slots=True)
class RuntimeProbe:
    """What was found.

    Attributes:
        label: the runtime.
        is_usable: whether an engine can be run with it here.
        is_full: whether it runs on a GPU.
        text: versions, or the reason.
    """

    label: RuntimeLabel
    is_usable: bool
    is_full: bool
    text: str


def probe_runtime(label: RuntimeLabel, host: HostTuple) -> RuntimeProbe:
    """Make the runtime and import what it needs; loads no engine."""
    try:
        create_runtime(label, enabled=frozenset(RuntimeLabel), build_flags=BuildFlags.load(), options=RuntimeOptions())
        if label is RuntimeLabel.PYTORCH_FP16:
            return _probe_torch()
        if label is RuntimeLabel.ONNX_TRT_EP:
            return _probe_onnxruntime(host)
        if label is RuntimeLabel.TENSORRT:
            return _probe_tensorrt(host)
    except (GpsDeniedInferenceError, ImportError) as error:
        return RuntimeProbe(label, False, False, str(error))
    return RuntimeProbe(label, True, True, "can be made")


def _probe_torch() -> RuntimeProbe:
    torch = require("torch", install="pip install torch==2.13.0", purpose="the pytorch_fp16 runtime")
    text = f"torch {torch.__version__}"
    if torch.cuda.is_available():
        return RuntimeProbe(RuntimeLabel.PYTORCH_FP16, True, True, f"{text}, CUDA {torch.version.cuda}")
    return RuntimeProbe(
        RuntimeLabel.PYTORCH_FP16, True, False, f"{text} finds no CUDA device: FP32 on the CPU with allow_cpu_fallback"
    )


def _probe_onnxruntime(host: HostTuple) -> RuntimeProbe:
    """A build may name providers whose libraries are absent: only a session tells which of them start."""
    ort = require_onnxruntime()
    available = ort.get_available_providers()
    wanted = [name for name in PROVIDERS.values() if name in available and (host.sms or name == PROVIDERS["cpu"])]
    with onnxruntime_errors("running a network of one node"):
        session = make_session(_IDENTITY, [(name, {}) for name in wanted], SessionThreads(1))
        session.run(None, {"x": np.zeros(1, np.float32)})
    started = session.get_providers()
    text = f"onnxruntime {ort.__version__} runs {', '.join(started)}"
    absent = [name for name in wanted if name not in started]
    if absent:
        text += f"; {', '.join(absent)} of this build cannot start: libraries or the driver are missing"
    is_full = any(name != PROVIDERS["cpu"] for name in started)
    if not is_full:
        text += "; no GPU for it: FP32 on the CPU with device cpu or allow_cpu_fallback"
    return RuntimeProbe(RuntimeLabel.ONNX_TRT_EP, True, is_full, text)


def _probe_tensorrt(host: HostTuple) -> RuntimeProbe:
    title = load_binding().title
    if not host.sms:
        return RuntimeProbe(
            RuntimeLabel.TENSORRT, False, False, f"{title} finds no GPU: it compiles engines here and runs none"
        )
    return RuntimeProbe(RuntimeLabel.TENSORRT, True, True, f"{title}, compute capability {', '.join(host.sms)}")
