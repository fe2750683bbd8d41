"""Models compiled for the TensorRT provider of ONNX Runtime: an ONNX file that holds the engines ("EP context")."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gps_denied_inference.core.contracts import BuildConfig, OptimizationProfile, PrecisionMode
from gps_denied_inference.core.errors import EngineBuildError, RuntimeNotAvailableError
from gps_denied_inference.core.runtime.onnx_errors import onnxruntime_errors, require_onnxruntime
from gps_denied_inference.core.runtime.onnx_network import SessionThreads, make_session
from gps_denied_inference.core.runtime.onnx_providers import PROVIDERS

__all__ = ["build_ep_context", "holds_ep_context", "tensorrt_build_options"]

_EP_CONTEXT = b"EPContext"  # the operator whose node holds an engine


def holds_ep_context(content: bytes) -> bool:
    """Tell whether a model was compiled for a provider."""
    return _EP_CONTEXT in content


def build_ep_context(model_path: Path, content: bytes, build_config: BuildConfig, device_index: int) -> Path:
    """Compile a model for this computer's GPU; takes minutes.

    The result lies in a folder of its own, named by everything that it depends on, beside the model:
    `<stem>.tensorrt.<hash>/<stem>.onnx`. It appears there complete or not at all.

    Args:
        model_path: of the ONNX model.
        content: its bytes.
        build_config: precision, and the profiles of inputs with variable shapes.
        device_index: of the GPU.

    Returns:
        Path of the compiled model, one file.

    Raises:
        RuntimeNotAvailableError: this ONNX Runtime has no TensorRT provider, or it cannot start here.
        EngineBuildError: TensorRT refused the model, or left nodes to other providers.
    """
    ort = require_onnxruntime()
    available = ort.get_available_providers()
    if PROVIDERS["tensorrt"] not in available:
        raise RuntimeNotAvailableError(
            f"this build of ONNX Runtime has no {PROVIDERS['tensorrt']} (it has {', '.join(available)}); install "
            "onnxruntime-gpu and TensorRT on a computer with the vehicle's GPU, or build with --provider cuda or cpu"
        )
    options = tensorrt_build_options(build_config, device_index)
    folder = model_path.parent / f"{model_path.stem}.tensorrt.{_digest(content, options, ort.__version__)}"
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=model_path.parent))
    try:
        target = scratch / f"{model_path.stem}.onnx"
        entries = {
            "ep.context_enable": "1",
            "ep.context_file_path": str(target),
            "ep.context_embed_mode": "1",
        }
        with onnxruntime_errors(f"compiling {model_path} with TensorRT", EngineBuildError):
            session = make_session(
                content, [(PROVIDERS["tensorrt"], options), (PROVIDERS["cpu"], {})], SessionThreads(), entries
            )
        if PROVIDERS["tensorrt"] not in session.get_providers():
            raise RuntimeNotAvailableError(
                f"ONNX Runtime {ort.__version__} could not start {PROVIDERS['tensorrt']}; install the TensorRT that it "
                "was built for, or build with --provider cuda or cpu"
            )
        _require_compiled(session.get_provider_graph_assignment_info(), target, model_path)
        shutil.rmtree(folder, ignore_errors=True)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder / f"{model_path.stem}.onnx"


def tensorrt_build_options(build_config: BuildConfig, device_index: int) -> dict[str, str]:
    """Options of the TensorRT provider for a build."""
    options = {
        "device_id": str(device_index),
        "trt_fp16_enable": "1" if build_config.precision is PrecisionMode.FP16 else "0",
    }
    if build_config.profiles:
        options |= {
            "trt_profile_min_shapes": _shapes(build_config.profiles, "min_shape"),
            "trt_profile_opt_shapes": _shapes(build_config.profiles, "opt_shape"),
            "trt_profile_max_shapes": _shapes(build_config.profiles, "max_shape"),
        }
    return options


def _require_compiled(assignments: Sequence[object], target: Path, model_path: Path) -> None:
    elsewhere = [name for item in assignments if (name := getattr(item, "ep_name", "")) != PROVIDERS["tensorrt"]]
    if elsewhere:
        raise EngineBuildError(
            f"TensorRT leaves parts of {model_path} to {', '.join(sorted(set(elsewhere)))}; build with --provider cuda "
            "or cpu, or export a network that TensorRT can run whole"
        )
    if not target.is_file() or not holds_ep_context(target.read_bytes()):
        raise EngineBuildError(
            f"ONNX Runtime compiled {model_path} and wrote no EP-context model; use a version that can, or build with "
            "--provider cuda or cpu"
        )


def _shapes(profiles: Sequence[OptimizationProfile], field: str) -> str:
    return ",".join(f"{profile.input_name}:{'x'.join(map(str, getattr(profile, field)))}" for profile in profiles)


def _digest(content: bytes, options: dict[str, str], version: str) -> str:
    source = hashlib.sha256(content).hexdigest()
    return hashlib.sha256(json.dumps([source, options, version], sort_keys=True).encode()).hexdigest()[:12]
