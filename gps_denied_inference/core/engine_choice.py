"""Which engine the settings mean, and whether the gate lets it be loaded. Used by `assembly` alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path

from gps_denied_inference.core.architectures import locate_weights
from gps_denied_inference.core.contracts import (
    ArchitectureSpec,
    BuildConfig,
    EngineCacheEntry,
    PrecisionMode,
    RuntimeLabel,
)
from gps_denied_inference.core.engines import (
    EngineFileName,
    EngineGate,
    EngineStore,
    HostTuple,
    ManifestEntry,
    build_advice,
)
from gps_denied_inference.core.errors import EngineManifestError, SettingsError
from gps_denied_inference.core.runtime import InferenceRuntime
from gps_denied_inference.core.settings import EngineSettings, Settings

__all__ = ["ChosenEngine", "choose_engine"]


@dataclass(frozen=True, slots=True)
class ChosenEngine:
    """What is to be loaded.

    Attributes:
        entry: for the runtime.
        weights_sha256: of the checkpoint that the engine was made of.
        is_gated: the gate accepted it.
        complaint: why not, in a sentence; empty when it did.
        golden: path and SHA-256 of its golden set; None when it has none.
        memory_bytes: what it needs on the device; 0 when not known.
        fallback_reason: why it is of another precision than the settings ask for; empty when it is not.
    """

    entry: EngineCacheEntry
    weights_sha256: str
    is_gated: bool
    complaint: str
    golden: tuple[Path, str] | None = None
    memory_bytes: int = 0
    fallback_reason: str = ""


def choose_engine(
    settings: Settings, engine: EngineSettings, spec: ArchitectureSpec, runtime: InferenceRuntime, host: HostTuple
) -> ChosenEngine:
    """Find the engine and take it through the gate; without a store, the bare checkpoint where that is allowed.

    Raises:
        EngineSchemaMismatchError, EngineSidecarMissingError, EngineHashMismatchError, EngineManifestError: there is no
            such engine, or it did not pass the gate, and `allow_ungated` is off.
        EngineBuildError: the bare checkpoint is missing, or is not this network's.
        SettingsError: the fake runtime has no script.
    """
    if settings.engine_store is None or engine.runtime is RuntimeLabel.FAKE:
        return _bare_checkpoint(settings, engine, spec, runtime)
    store = EngineStore(settings.engine_store)
    options = _build_options(settings, engine, spec, host)
    wanted = engine
    fallback_reason = ""
    if engine.engine_file:
        path = settings.engine_store / engine.engine_file
        if not path.exists():
            advice = build_advice(engine.model, engine.runtime, engine.precision, store.root, options)
            raise EngineManifestError(
                f"{store.root} has no file '{engine.engine_file}', which {engine.name}.engine_file names; leave it "
                f"empty to take the newest engine that fits. {advice}"
            )
    else:
        found = _found(settings, engine, store, host, options)
        path = store.path_of(found)
        if found.precision is not engine.precision:
            wanted = replace(engine, precision=found.precision)
            fallback_reason = (
                f"the engine is of {found.precision.value}: the store has none of {engine.precision.value}"
            )
    gate = EngineGate(
        store,
        host,
        require_signature=settings.require_signature,
        trusted_keys=settings.trusted_keys,
        build_options=options,
    )
    verdict = gate.validate(path)
    if verdict.error is not None and not settings.allow_ungated:
        raise verdict.error
    if verdict.entry is None:
        raise verdict.error or EngineManifestError(f"the engine gate could not read {path}; build the engine again")
    judged = verdict.manifest_entry
    _refuse_other_model(EngineFileName.parse(path.name), judged, wanted, spec)
    return ChosenEngine(
        entry=verdict.entry,
        weights_sha256=verdict.entry.sha256 if judged is None else judged.weights_sha256,
        is_gated=verdict.error is None,
        complaint="" if verdict.error is None else str(verdict.error),
        golden=None if judged is None else store.golden_of(judged),
        memory_bytes=0 if judged is None else judged.memory_bytes,
        fallback_reason=fallback_reason,
    )


class _Fit(IntEnum):
    """How near an engine is to what the settings ask for."""

    BEST = 0
    AS_ALLOWED = 1
    """Another provider runs it than the first of onnx_providers, for which nothing fell back."""
    FALLBACK = 2
    """It runs with `allow_cpu_fallback` alone."""
    NONE = 3


def _found(
    settings: Settings, engine: EngineSettings, store: EngineStore, host: HostTuple, options: tuple[str, ...]
) -> ManifestEntry:
    """The newest engine of what the settings ask for; where there is none, of the next best that they allow."""

    def find(precision: PrecisionMode, worst: _Fit) -> ManifestEntry:
        def why_not(entry: ManifestEntry) -> str:
            fit, reason = _judge(engine, entry)
            return reason if fit > worst else ""

        return store.find(
            model=engine.model,
            runtime=engine.runtime,
            precision=precision,
            host=host,
            build_options=options,
            why_not=why_not,
        )

    tries = [(engine.precision, _Fit.BEST), (engine.precision, _Fit.AS_ALLOWED)]
    if settings.allow_cpu_fallback:
        tries.append((engine.precision, _Fit.FALLBACK))
        if engine.runtime is RuntimeLabel.ONNX_TRT_EP and not host.sms:
            # Without a GPU the arithmetic is FP32 in any case, and engines of FP32 are what is built there.
            tries.append((PrecisionMode.FP32, _Fit.FALLBACK))
    refusal: EngineManifestError | None = None
    for precision, worst in tries:
        try:
            return find(precision, worst)
        except EngineManifestError as error:
            refusal = refusal or error
    assert refusal is not None
    raise refusal


def _judge(engine: EngineSettings, entry: ManifestEntry) -> tuple[_Fit, str]:
    """How an engine fits the settings of its runtime, and why not better."""
    flags = entry.build_flags
    if engine.runtime is RuntimeLabel.TENSORRT:
        flavour = flags.get("flavour", "")
        if engine.tensorrt_flavour not in ("auto", flavour):
            return _Fit.NONE, f"{flavour or 'another TensorRT'} built it, tensorrt_flavour is {engine.tensorrt_flavour}"
    if engine.runtime is not RuntimeLabel.ONNX_TRT_EP:
        return _Fit.BEST, ""
    wanted = "cpu" if engine.device == "cpu" else next(iter(engine.onnx_providers), "cpu")
    provider = flags.get("provider", "cpu")
    if provider == "tensorrt":
        if engine.device == "cpu" or "tensorrt" not in engine.onnx_providers:
            what = f"device {engine.device}, onnx_providers {', '.join(engine.onnx_providers)}"
            return _Fit.NONE, f"it is compiled for TensorRT, which the settings leave out ({what})"
        if wanted == "tensorrt":
            return _Fit.BEST, ""
        return _Fit.FALLBACK, f"it is compiled for TensorRT, not for {wanted}, which onnx_providers has first"
    if wanted == "tensorrt":
        reason = "nothing in it is compiled for TensorRT, which onnx_providers has first"
        return (_Fit.AS_ALLOWED if provider == "cuda" else _Fit.FALLBACK), reason
    return _Fit.BEST, ""


def _build_options(
    settings: Settings, engine: EngineSettings, spec: ArchitectureSpec, host: HostTuple
) -> tuple[str, ...]:
    """What 'gdi engine build' needs besides, to build here what these settings load."""
    options: list[str] = []
    if engine.runtime is RuntimeLabel.ONNX_TRT_EP:
        wanted = next((name for name in engine.onnx_providers if name != "cpu"), "cpu")
        falls_back = settings.allow_cpu_fallback and not host.sms
        options += ["--provider", "cpu" if engine.device == "cpu" or falls_back else wanted]
    if engine.runtime is RuntimeLabel.TENSORRT and engine.tensorrt_flavour != "auto":
        options += ["--flavour", engine.tensorrt_flavour]
    if settings.weights_dir is not None:
        options += ["--weights-dir", str(settings.weights_dir.absolute())]
    for module in settings.architecture_modules:
        options += ["--architecture-module", module]
    if spec.license_restriction:
        options += ["--accept-license", spec.license]
    return tuple(options)


def _refuse_other_model(
    name: EngineFileName, judged: ManifestEntry | None, engine: EngineSettings, spec: ArchitectureSpec
) -> None:
    """Hold an engine to the settings. By its name, which is there even when no manifest knows the engine (ungated)."""
    if (name.model, name.runtime, name.precision) != (engine.model, engine.runtime, engine.precision):
        raise EngineManifestError(
            f"{name.text()} runs '{name.model}' on '{name.runtime.value}' in {name.precision.value}, but engine "
            f"'{engine.name}' is set to '{engine.model}' on '{engine.runtime.value}' in {engine.precision.value}; "
            f"choose another {engine.name}.engine_file, or leave it empty"
        )
    if judged is not None and judged.preprocess_sha256 != spec.preprocess.sha256:
        raise EngineManifestError(
            f"{name.text()} was built for another preprocessing of '{engine.model}' ({judged.preprocess_sha256[:8]}) "
            f"than this version has ({spec.preprocess.sha256[:8]}); build the engine again"
        )


def _bare_checkpoint(
    settings: Settings, engine: EngineSettings, spec: ArchitectureSpec, runtime: InferenceRuntime
) -> ChosenEngine:
    checkpoint = _checkpoint(engine, spec, settings.weights_dir)
    if not settings.allow_ungated:
        raise EngineManifestError(
            f"engine '{engine.name}' would run the bare file {checkpoint}, which no engine gate has checked; prepare "
            f"an engine with 'gdi engine build {engine.model} --runtime {engine.runtime.value} --precision "
            f"{engine.precision.value} --store DIR' and set engine_store:=DIR; or, on a desk, set allow_ungated:=true "
            "(diagnostics will show it)"
        )
    if engine.runtime is RuntimeLabel.TENSORRT:
        raise EngineManifestError(
            f"engine '{engine.name}' is of runtime tensorrt, which compiles for minutes and never while an engine is "
            f"loaded; prepare one with 'gdi engine build {engine.model} --runtime tensorrt --precision "
            f"{engine.precision.value} --store DIR' and set engine_store:=DIR"
        )
    config = BuildConfig(precision=engine.precision, extras={"model_name": engine.model})
    entry = runtime.compile_engine(checkpoint, config)
    return ChosenEngine(entry, entry.sha256, is_gated=False, complaint="a bare checkpoint (allow_ungated is set)")


def _checkpoint(engine: EngineSettings, spec: ArchitectureSpec, weights_dir: Path | None) -> Path:
    if engine.checkpoint is not None:
        return engine.checkpoint
    if engine.runtime is RuntimeLabel.FAKE:
        raise SettingsError(f"{engine.name}.checkpoint", "", "the path of a YAML script for the fake runtime")
    return locate_weights(spec, engine.model, weights_dir)
