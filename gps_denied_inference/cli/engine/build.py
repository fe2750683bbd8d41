"""`gdi engine build`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from gps_denied_inference.cli.console import note, progress, say, table
from gps_denied_inference.cli.engine.fields import entry_fields, entry_rows
from gps_denied_inference.core.architectures import default_registry
from gps_denied_inference.core.contracts import OptimizationProfile, PrecisionMode, RuntimeLabel
from gps_denied_inference.core.engines.build import STAGES, BuildRequest, build_engine
from gps_denied_inference.core.engines.host import HostTuple, probe_host
from gps_denied_inference.core.engines.signature import sign_manifest
from gps_denied_inference.core.engines.store import EngineStore
from gps_denied_inference.core.runtime.onnx_errors import require_onnxruntime
from gps_denied_inference.core.runtime.onnx_providers import PROVIDERS
from gps_denied_inference.core.runtime.tensorrt_binding import AUTO, FLAVOURS

__all__ = ["add_actions", "default_provider"]

_STEPS_PER_STAGE = 100


def add_actions(actions: Any, common: argparse.ArgumentParser) -> None:
    """Add the action."""
    parser = actions.add_parser(
        "build",
        parents=[common],
        help="make an engine of a network's weights",
        description="Makes an engine with its golden FP32 outputs and puts it into the store, where it passes the gate "
        "of this computer. A build that fails leaves the store as it was.",
    )
    parser.add_argument("model", help="a name that 'gdi models' lists")
    labels = [label.value for label in RuntimeLabel if label is not RuntimeLabel.FAKE]
    parser.add_argument("--runtime", choices=labels, required=True, help="that is to run it")
    parser.add_argument(
        "--precision",
        choices=[mode.value for mode in PrecisionMode],
        help="default: fp16; fp32 for onnx_trt_ep on the CPU, which computes in no other",
    )
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="its weights; default: as --weights-dir")
    parser.add_argument("--weights-dir", type=Path, help="folder searched first, then installed weight packages")
    parser.add_argument(
        "--accept-license", action="append", default=[], metavar="NAME", help="restricted licence of weights to accept"
    )
    parser.add_argument(
        "--architecture-module", action="append", default=[], metavar="MODULE", help="that registers more networks"
    )
    parser.add_argument(
        "--provider",
        choices=["cpu", "cuda", "tensorrt"],
        help="of onnx_trt_ep; default: the best that this computer has, on a computer without a GPU cpu",
    )
    tensorrt = parser.add_argument_group("tensorrt")
    tensorrt.add_argument("--flavour", choices=[AUTO, *FLAVOURS], default=AUTO, help="TensorRT, or TensorRT for RTX")
    tensorrt.add_argument(
        "--sm",
        metavar="LIST",
        default="",
        help="compute capabilities to compile for, as 86,89 (TensorRT for RTX needs no GPU then); default: this GPU's",
    )
    tensorrt.add_argument("--onnx", type=Path, metavar="FILE", help="compile this file (with Q/DQ nodes for int8)")
    tensorrt.add_argument("--workspace-mib", type=int, metavar="N", default=0, help="limit of TensorRT's workspace")
    tensorrt.add_argument("--timing-cache", type=Path, metavar="FILE", help="measured kernels: read and extended")
    tensorrt.add_argument(
        "--calibration-images", type=Path, metavar="NPY", help="prepared inputs for int8 (TensorRT 10 only)"
    )
    tensorrt.add_argument("--calibration-cache", type=Path, metavar="FILE", help="what the calibration found")
    parser.add_argument(
        "--profile",
        action="append",
        type=_profile,
        default=[],
        metavar="INPUT=MIN,OPT,MAX",
        help="shapes of an input, as image=1x3x224x224,1x3x320x320,1x3x448x448",
    )
    parser.add_argument("--sign-with", type=Path, metavar="KEY", help="private key (PEM) to sign the manifest with")
    parser.set_defaults(run_action=run)


def run(options: argparse.Namespace) -> int:
    """Build, and sign where a key is given."""
    store = EngineStore(options.store)
    registry = default_registry()
    registry.load_modules(tuple(options.architecture_module))
    host = probe_host()
    runtime = RuntimeLabel(options.runtime)
    provider = options.provider or default_provider(runtime, host)
    is_fp32 = runtime is RuntimeLabel.ONNX_TRT_EP and provider == "cpu"
    precision = PrecisionMode(options.precision or ("fp32" if is_fp32 else "fp16"))
    request = BuildRequest(
        model=options.model,
        runtime=runtime,
        precision=precision,
        checkpoint=options.checkpoint,
        provider=provider,
        accepted_licenses=tuple(options.accept_license),
        profiles=tuple(options.profile),
        onnx=options.onnx,
        flavour=options.flavour,
        options=_tensorrt_options(options),
    )
    where = f" ({provider})" if runtime is RuntimeLabel.ONNX_TRT_EP else ""
    title = f"building {options.model} for {options.runtime}{where} in {precision.value}"
    with progress(title, len(STAGES) * _STEPS_PER_STAGE) as show:
        entry = build_engine(
            request,
            store,
            registry=registry,
            host=host,
            weights_dir=options.weights_dir,
            on_progress=lambda stage, fraction: show(round((STAGES.index(stage) + fraction) * _STEPS_PER_STAGE), stage),
        )
    origin = registry.lookup(options.model).spec.weights
    if origin is not None and not entry.weights_sha256.startswith(origin.sha256):
        note(
            f"the weights of this engine are not the published file: SHA-256 {entry.weights_sha256}, published is "
            f"{origin.sha256}; good where they are yours, else see 'gdi weights verify'"
        )
    if options.sign_with is not None:
        sign_manifest(store, options.sign_with)
    if options.json:
        say(json.dumps({"engine": str(store.path_of(entry)), **entry_fields(entry)}, indent=2))
    else:
        say(str(store.path_of(entry)))
        say(table(entry_rows(entry)))
    return 0


def default_provider(runtime: RuntimeLabel, host: HostTuple) -> str:
    """The provider of ONNX Runtime that flies on this computer with the default settings."""
    if runtime is not RuntimeLabel.ONNX_TRT_EP or not host.sms:
        return "cpu"
    available = require_onnxruntime().get_available_providers()
    if PROVIDERS["tensorrt"] in available and host.tensorrt:
        return "tensorrt"
    return "cuda" if PROVIDERS["cuda"] in available else "cpu"


def _tensorrt_options(options: argparse.Namespace) -> dict[str, str]:
    """Return what was given, by the names of `TensorrtBuildOptions`."""
    given = {
        "sms": options.sm,
        "workspace_mib": str(options.workspace_mib) if options.workspace_mib else "",
        "timing_cache": options.timing_cache,
        "calibration_images": options.calibration_images,
        "calibration_cache": options.calibration_cache,
    }
    return {name: str(value) for name, value in given.items() if value}


def _profile(text: str) -> OptimizationProfile:
    name, _, shapes = text.partition("=")
    try:
        smallest, best, largest = (tuple(int(size) for size in shape.split("x")) for shape in shapes.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no profile; write INPUT=MIN,OPT,MAX, as image=1x3x224x224,1x3x320x320,1x3x448x448"
        ) from None
    return OptimizationProfile(name, smallest, best, largest)
