"""Makes engines: checkpoint → golden outputs → export → compile → store → gate. Never called in flight."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from gps_denied_inference import __version__
from gps_denied_inference.core.architectures import (
    ArchitectureEntry,
    ArchitectureRegistry,
    locate_weights,
    require_accepted_license,
)
from gps_denied_inference.core.contracts import BuildConfig, OptimizationProfile, PrecisionMode, RuntimeLabel
from gps_denied_inference.core.engines.activation_memory import ActivationMeter
from gps_denied_inference.core.engines.crops import load_crops
from gps_denied_inference.core.engines.file_name import DIGEST_LENGTH, EngineFileName
from gps_denied_inference.core.engines.gate import EngineGate
from gps_denied_inference.core.engines.golden import golden_bytes, make_golden
from gps_denied_inference.core.engines.host import HostTuple
from gps_denied_inference.core.engines.manifest import ManifestEntry
from gps_denied_inference.core.engines.onnx_export import export_onnx
from gps_denied_inference.core.engines.store import GOLDEN_SUFFIX, EngineStore
from gps_denied_inference.core.errors import EngineBuildError, RuntimeNotAvailableError
from gps_denied_inference.core.runtime import BuildFlags, InferenceRuntime, RuntimeOptions, create_runtime
from gps_denied_inference.core.runtime.device_memory import open_device_stream
from gps_denied_inference.core.runtime.engine_file import read_source
from gps_denied_inference.core.runtime.tensorrt_binding import AUTO, TENSORRT_RTX

__all__ = ["STAGES", "BuildRequest", "build_engine"]

STAGES = ("weights", "golden outputs", "export", "compile", "store", "check")
"""What `on_progress` is told, in this order; an engine that needs no export or compilation leaves these out."""

_WORKING_MEMORY_BYTES = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What is to be built.

    Attributes:
        model: name of a registered architecture.
        runtime: that is to run it.
        precision: of its arithmetic.
        checkpoint: its weights; looked up in `weights_dir`, then in installed packages, when None.
        provider: for `onnx_trt_ep`: `cpu`, `cuda` or `tensorrt`.
        profiles: of inputs with variable shapes.
        accepted_licenses: restricted licences of weights that the use agrees with.
        onnx: an ONNX file of this network to be compiled in place of the exported one, e.g. with Q/DQ nodes for INT8.
        flavour: for `tensorrt`: `tensorrt`, `tensorrt_rtx`, or `auto`, the first of these that is there.
        options: for `tensorrt`: more of its build, by the names of `TensorrtBuildOptions`.
    """

    model: str
    runtime: RuntimeLabel
    precision: PrecisionMode = PrecisionMode.FP16
    checkpoint: Path | None = None
    provider: str = "cpu"
    profiles: tuple[OptimizationProfile, ...] = ()
    accepted_licenses: tuple[str, ...] = ()
    onnx: Path | None = None
    flavour: str = AUTO
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Product:
    """A file that is an engine, and what it depends on."""

    path: Path
    toolchain: str
    sms: tuple[str, ...] = ()
    platform: str = "any"
    source_onnx_sha256: str = ""
    build_flags: Mapping[str, str] = field(default_factory=dict)


def build_engine(
    request: BuildRequest,
    store: EngineStore,
    *,
    registry: ArchitectureRegistry,
    host: HostTuple,
    weights_dir: Path | None = None,
    on_progress: Callable[[str, float], None] = lambda _stage, _fraction: None,
) -> ManifestEntry:
    """Build an engine and put it into a store, with its golden outputs. Takes seconds to minutes.

    A build that fails or is interrupted leaves the store as it was. The result has passed the gate, unless it was
    built for another computer.

    Args:
        request: what to build.
        store: where to put it.
        registry: architectures.
        host: this computer.
        weights_dir: folder searched first for checkpoints.
        on_progress: called with the name of the stage and the fraction of it that is done.

    Raises:
        UnknownArchitectureError: nobody registered the model.
        LicenseNotAcceptedError: its weights are under a restricted licence that the request doesn't accept.
        EngineBuildError: the checkpoint, the export or the compilation failed, or the request is impossible.
        RuntimeNotAvailableError: a package that the build needs is absent.
        EngineError: the result did not pass the gate.
    """
    architecture = registry.lookup(request.model)
    _require_buildable(request, architecture)
    if _is_for_ep_context(request):
        _require_known_tensorrt(host)
    runtime = _runtime(request, registry)  # one that is missing is told before anything is computed
    on_progress("weights", 0.0)
    checkpoint = request.checkpoint or locate_weights(architecture.spec, architecture.name, weights_dir)
    weights_sha256 = hashlib.sha256(read_source(checkpoint)).hexdigest()
    on_progress("golden outputs", 0.0)
    meter = ActivationMeter()
    golden = make_golden(
        architecture, checkpoint, load_crops(), lambda fraction: on_progress("golden outputs", fraction), meter
    )
    with tempfile.TemporaryDirectory(prefix="gdi-build-") as folder:
        product = _make(request, architecture, checkpoint, weights_sha256, Path(folder), runtime, host, on_progress)
        on_progress("store", 0.0)
        name = EngineFileName(
            model=architecture.name,
            runtime=request.runtime,
            sms=product.sms,
            platform=product.platform,
            toolchain=product.toolchain,
            precision=request.precision,
            digest="0" * DIGEST_LENGTH,  # the store fills it in
            suffix=product.path.suffix,
        )
        details = ManifestEntry(
            file_name="",
            sha256="",
            size_bytes=0,
            model=architecture.name,
            runtime=request.runtime,
            precision=request.precision,
            weights_sha256=weights_sha256,
            preprocess_sha256=architecture.spec.preprocess.sha256,
            source_onnx_sha256=product.source_onnx_sha256,
            license=architecture.spec.license,
            built_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            package_version=__version__,
            profiles=request.profiles,
            build_flags=product.build_flags,
            artefacts=MappingProxyType({}),
            memory_bytes=_memory_bytes(product.path, meter.peak_bytes),
        )
        entry = store.add(product.path, name=name, details=details, artefacts={GOLDEN_SUFFIX: golden_bytes(golden)})
    on_progress("check", 0.0)
    if not EngineFileName.parse(entry.file_name).mismatches(host):
        verdict = EngineGate(store, host).validate(store.path_of(entry))
        if not verdict.is_accepted:
            store.remove(entry)
        verdict.require()
    on_progress("check", 1.0)
    return entry


def _require_buildable(request: BuildRequest, architecture: ArchitectureEntry) -> None:
    spec = architecture.spec
    if request.runtime is RuntimeLabel.FAKE:
        raise EngineBuildError(
            "the fake runtime plays a script, for which there is nothing to build; give its path as the checkpoint"
        )
    if request.runtime is not RuntimeLabel.PYTORCH_FP16 and spec.onnx_obstacle:
        raise EngineBuildError(
            f"'{request.model}' cannot be exported to ONNX: {spec.onnx_obstacle}; build it for pytorch_fp16"
        )
    if request.onnx is not None and request.runtime is not RuntimeLabel.TENSORRT:
        raise EngineBuildError(
            f"an ONNX file of your own is compiled by tensorrt, not by {request.runtime.value}; leave it out"
        )
    require_accepted_license(request.model, spec, request.accepted_licenses)


def _make(
    request: BuildRequest,
    architecture: ArchitectureEntry,
    checkpoint: Path,
    weights_sha256: str,
    folder: Path,
    runtime: InferenceRuntime,
    host: HostTuple,
    on_progress: Callable[[str, float], None],
) -> _Product:
    extras = {"model_name": architecture.name, "weights_sha256": weights_sha256}
    if request.runtime is RuntimeLabel.PYTORCH_FP16:
        runtime.compile_engine(checkpoint, BuildConfig(request.precision, request.profiles, extras))
        return _Product(checkpoint, toolchain="torch")
    if request.runtime is RuntimeLabel.TENSORRT:
        return _compile_with_tensorrt(request, architecture, checkpoint, folder, runtime, host, extras, on_progress)
    on_progress("export", 0.0)
    is_for_ep_context = _is_for_ep_context(request)
    # The TensorRT provider of ONNX Runtime lowers the precision itself.
    precision = PrecisionMode.FP32 if is_for_ep_context else request.precision
    sms = (_sm_of_the_gpu(host),) if is_for_ep_context else ()  # asked before minutes of work
    onnx = folder / f"{architecture.name}.onnx"
    export = export_onnx(architecture, checkpoint, precision, onnx, profiles=request.profiles)
    on_progress("compile", 0.0)
    extras["provider"] = request.provider
    compiled = runtime.compile_engine(onnx, BuildConfig(request.precision, request.profiles, extras))
    on_progress("compile", 1.0)
    if not is_for_ep_context:
        return _Product(
            compiled.path,
            toolchain="onnx",
            source_onnx_sha256=export.sha256,
            build_flags=MappingProxyType({"provider": request.provider, "opset": str(export.opset)}),
        )
    return _Product(
        compiled.path,
        toolchain=f"ortep{host.onnxruntime}-trt{host.tensorrt}",
        sms=sms,
        platform=_platform(host),
        source_onnx_sha256=export.sha256,
        build_flags=MappingProxyType({"opset": str(export.opset), **_recorded(extras, compiled.extras)}),
    )


def _compile_with_tensorrt(
    request: BuildRequest,
    architecture: ArchitectureEntry,
    checkpoint: Path,
    folder: Path,
    runtime: InferenceRuntime,
    host: HostTuple,
    extras: Mapping[str, str],
    on_progress: Callable[[str, float], None],
) -> _Product:
    # Imported here: a runtime that was left out of the build is never imported.
    from gps_denied_inference.core.runtime.tensorrt_runtime import TensorrtRuntime

    assert isinstance(runtime, TensorrtRuntime)
    on_progress("export", 0.0)
    opset = {}
    if request.onnx is None:
        # A calibrated network is weakly typed: TensorRT lowers the precision itself.
        is_calibrated = bool(request.options.get("calibration_images"))
        precision = PrecisionMode.FP32 if is_calibrated else request.precision
        onnx = folder / f"{architecture.name}.onnx"
        opset["opset"] = str(export_onnx(architecture, checkpoint, precision, onnx, profiles=request.profiles).opset)
    else:
        onnx = request.onnx
    options = {**request.options, "output_dir": str(folder / "plan"), "jetpack": host.jetpack}
    compiled = runtime.compile_engine(
        onnx,
        BuildConfig(request.precision, request.profiles, {**options, **extras}),
        on_progress=lambda _phase, fraction: on_progress("compile", fraction),
    )
    # An engine that was compiled ahead of time is for other computers than this one.
    platform = "any" if compiled.extras["flavour"] == TENSORRT_RTX else _platform(host)
    return _Product(
        compiled.path,
        toolchain=compiled.tensorrt,
        sms=tuple(compiled.sm.split(",")),
        platform=platform,
        source_onnx_sha256=compiled.extras["source_onnx_sha256"],
        build_flags=MappingProxyType({**opset, **_recorded({}, compiled.extras)}),
    )


def _platform(host: HostTuple) -> str:
    if host.jetpack:
        return f"jp{host.jetpack}"
    # Without a driver (an engine built ahead of time) nothing is known of the CUDA version it will meet.
    return f"cuda{host.cuda}-{host.machine}" if host.cuda else "any"


def _is_for_ep_context(request: BuildRequest) -> bool:
    return request.runtime is RuntimeLabel.ONNX_TRT_EP and request.provider == "tensorrt"


def _require_known_tensorrt(host: HostTuple) -> None:
    """The plan inside runs with no other version; a name without it would let one pass the gate."""
    if not host.tensorrt:
        raise RuntimeNotAvailableError(
            "the version of TensorRT, which alone can run what ONNX Runtime's TensorRT provider compiles, cannot be "
            "told: its Python module is not installed; install it (apt install python3-libnvinfer, or pip install the "
            "version of tensorrt that ONNX Runtime was built for), or build with --provider cuda or cpu"
        )


def _sm_of_the_gpu(host: HostTuple) -> str:
    """Compute capability of the GPU that the provider compiled for: the first one, as CUDA counts."""
    if len(host.sms) == 1:
        return host.sms[0]
    try:
        stream = open_device_stream(0)
    except RuntimeNotAvailableError as error:
        raise EngineBuildError(
            f"this computer has GPUs of SM {', '.join(host.sms) or 'unknown'}, and nothing tells for which of them the "
            f"TensorRT provider compiles ({error}); install cuda-python or torch with CUDA"
        ) from error
    try:
        return stream.compute_capability()
    finally:
        stream.close()


def _recorded(asked: Mapping[str, str], told: Mapping[str, str]) -> dict[str, str]:
    """What the runtime was asked for and told of the build, less paths and what the manifest says anyway."""
    said_elsewhere = {"model_name", "runtime", "weights_sha256", "source_onnx_sha256", "jetpack"}
    left_out = said_elsewhere | {"output_dir", "timing_cache", "calibration_images", "calibration_cache"}
    return {name: value for name, value in {**asked, **told}.items() if name not in left_out}


def _runtime(request: BuildRequest, registry: ArchitectureRegistry) -> InferenceRuntime:
    return create_runtime(
        request.runtime,
        enabled=frozenset(RuntimeLabel),
        build_flags=BuildFlags.load(),
        options=RuntimeOptions(tensorrt_flavour=request.flavour),
        architecture_registry=registry,
    )


def _memory_bytes(engine: Path, activation_bytes: int) -> int:
    """Estimate what the engine takes on a device.

    The file twice, since its weights are there twice while they are moved; the activations of an FP32 pass twice, for
    the workspaces of convolutions; and the allocator's rounding. Eight networks in eager torch on an H200 took less, in
    FP32 by a factor of 1.2 (netvlad_vgg16: 384 of 477 MiB, superpoint: 324 of 374) to 4.6 (efficientnet_lite0_grid).
    The CUDA context, 0.5 GiB there, is the process's and not counted.
    """
    return 2 * engine.stat().st_size + 2 * activation_bytes + _WORKING_MEMORY_BYTES
