"""The only composition root: settings → gated engine → runtime → pipeline. The node, the replay and `gdi` come here."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from gps_denied_inference.core.architectures import (
    ArchitectureRegistry,
    default_registry,
    locate_weights,
    require_accepted_license,
)
from gps_denied_inference.core.contracts import (
    ArchitectureSpec,
    BuildConfig,
    EngineCacheEntry,
    EngineHandle,
    RuntimeLabel,
    ThermalPublisher,
)
from gps_denied_inference.core.engines import (
    EngineFileName,
    EngineGate,
    EngineStore,
    FidelityReport,
    HostTuple,
    ManifestEntry,
    MemoryBudget,
    build_command,
    measure_fidelity,
    probe_host,
    read_golden,
)
from gps_denied_inference.core.errors import EngineFidelityError, EngineManifestError, SettingsError
from gps_denied_inference.core.pipeline import MatchingPipeline, ModelIdentity, Pipeline
from gps_denied_inference.core.runtime import BuildFlags, InferenceRuntime, RuntimeOptions, create_runtime
from gps_denied_inference.core.settings import EngineSettings, Settings

__all__ = ["assemble_matcher", "assemble_pipeline"]

_RESERVATIONS = itertools.count(1)


def assemble_pipeline(
    settings: Settings,
    engine_name: str | None = None,
    *,
    registry: ArchitectureRegistry | None = None,
    build_flags: BuildFlags | None = None,
    thermal_publisher: ThermalPublisher | None = None,
    memory_budget: MemoryBudget | None = None,
    host: HostTuple | None = None,
    clock: Callable[[], int] = time.monotonic_ns,
) -> Pipeline:
    """Load an engine, check its outputs and put a pipeline around it. Warm when it returns.

    Args:
        settings: validated settings.
        engine_name: which of `settings.engines`; the first, when None.
        registry: architectures; the default registry with `settings.architecture_modules`, when None.
        build_flags: which runtimes were built in; read from the environment and the installation, when None.
        thermal_publisher: whom the runtime asks for the thermal state.
        memory_budget: shared by all pipelines of the process; one of its own with
            `settings.gpu_memory_budget_bytes`, when None.
        host: the computer that engines must fit; probed, when None.
        clock: steady clock, nanoseconds.

    Raises:
        UnknownArchitectureError: the model's name is not registered.
        LicenseNotAcceptedError: its weights are under a restricted licence that the settings don't accept.
        SettingsError: it takes two images, or their features, where a pipeline has one image.
        RuntimeNotAvailableError: the runtime is disabled, or its package or device is absent.
        EngineSchemaMismatchError, EngineSidecarMissingError, EngineHashMismatchError, EngineManifestError: the engine
            did not pass the gate, and `allow_ungated` is off.
        EngineFidelityError: its outputs are too far from the FP32 reference.
        EngineBuildError, EngineDeserializeError: the checkpoint is missing, or is not this network's.
        OutOfMemoryError: it does not fit the budget or the device.
    """
    engine = settings.engine(engine_name)
    loaded = _load(
        settings,
        engine,
        registry=registry,
        build_flags=build_flags,
        thermal_publisher=thermal_publisher,
        memory_budget=memory_budget,
        host=host,
        clock=clock,
        takes_one_image=True,
    )
    try:
        pipeline = Pipeline(
            loaded.runtime,
            loaded.handle,
            loaded.identity,
            top_k=engine.top_k,
            clock=clock,
            on_close=loaded.give_back_reservation,
        )
        pipeline.warm_up()
    except BaseException:
        loaded.release()
        raise
    return pipeline


def assemble_matcher(
    settings: Settings,
    engine_name: str | None = None,
    *,
    registry: ArchitectureRegistry | None = None,
    build_flags: BuildFlags | None = None,
    thermal_publisher: ThermalPublisher | None = None,
    memory_budget: MemoryBudget | None = None,
    host: HostTuple | None = None,
    clock: Callable[[], int] = time.monotonic_ns,
) -> MatchingPipeline:
    """Load an engine that matches two images, or their features, and check its outputs. Warm when it returns.

    Arguments and errors are those of `assemble_pipeline`, but that the model must be one that matches.
    """
    loaded = _load(
        settings,
        settings.engine(engine_name),
        registry=registry,
        build_flags=build_flags,
        thermal_publisher=thermal_publisher,
        memory_budget=memory_budget,
        host=host,
        clock=clock,
        takes_one_image=False,
    )
    return MatchingPipeline(loaded.runtime, loaded.handle, loaded.identity, on_close=loaded.give_back_reservation)


@dataclass(frozen=True, slots=True)
class _LoadedEngine:
    """An engine that was loaded and checked, and what it holds."""

    runtime: InferenceRuntime
    handle: EngineHandle
    identity: ModelIdentity
    give_back_reservation: Callable[[], None]

    def release(self) -> None:
        self.runtime.release_engine(self.handle)
        self.give_back_reservation()


def _load(
    settings: Settings,
    engine: EngineSettings,
    *,
    registry: ArchitectureRegistry | None,
    build_flags: BuildFlags | None,
    thermal_publisher: ThermalPublisher | None,
    memory_budget: MemoryBudget | None,
    host: HostTuple | None,
    clock: Callable[[], int],
    takes_one_image: bool,
) -> _LoadedEngine:
    if registry is None:
        registry = default_registry()
        registry.load_modules(settings.architecture_modules)
    spec = registry.lookup(engine.model).spec
    _refuse_unusable(settings, engine, spec, takes_one_image=takes_one_image)
    runtime = create_runtime(
        engine.runtime,
        enabled=settings.enabled_runtimes,
        build_flags=build_flags if build_flags is not None else BuildFlags.load(),
        options=RuntimeOptions(
            device=engine.device,
            allow_cpu_fallback=settings.allow_cpu_fallback,
            per_frame_debug_log=settings.per_frame_debug_log,
            onnx_providers=engine.onnx_providers,
            intra_op_threads=engine.intra_op_threads,
            allow_spinning=engine.allow_spinning,
            tensorrt_flavour=engine.tensorrt_flavour,
        ),
        thermal_publisher=thermal_publisher,
        architecture_registry=registry,
        clock=clock,
    )
    budget = MemoryBudget(settings.gpu_memory_budget_bytes) if memory_budget is None else memory_budget
    chosen = _choose(settings, engine, spec, runtime, probe_host() if host is None else host)
    reservation = _reserve(budget, engine, chosen)
    try:
        handle = runtime.deserialize_engine(chosen.entry)
        try:
            fidelity = _checked_fidelity(settings, runtime, handle, spec, chosen)
            identity = ModelIdentity(
                engine=engine.name,
                name=engine.model,
                weights_sha256=chosen.weights_sha256,
                spec=_spec_with_overrides(spec, engine),
                runtime_label=engine.runtime,
                configuration=handle.configuration,
                is_gated=chosen.is_gated,
                engine_file=chosen.entry.path.name,
                engine_sha256=chosen.entry.sha256,
                gate_complaint=chosen.complaint,
                fidelity=fidelity,
            )
        except BaseException:
            runtime.release_engine(handle)
            raise
    except BaseException:
        reservation()
        raise
    return _LoadedEngine(runtime, handle, identity, reservation)


def _refuse_unusable(
    settings: Settings, engine: EngineSettings, spec: ArchitectureSpec, *, takes_one_image: bool
) -> None:
    kind = spec.output_kind
    if kind.is_of_one_image and not takes_one_image:
        raise SettingsError(
            f"{engine.name}.model", engine.model, f"a network that matches; this one gives {kind.value} of one image"
        )
    if takes_one_image and not kind.is_of_one_image:
        raise SettingsError(
            f"{engine.name}.model", engine.model, f"a network that takes one image; this one gives {kind.value} of two"
        )
    if engine.runtime is not RuntimeLabel.FAKE:
        require_accepted_license(engine.model, spec, settings.accepted_licenses)


@dataclass(frozen=True, slots=True)
class _ChosenEngine:
    """What is to be loaded.

    Attributes:
        entry: for the runtime.
        weights_sha256: of the checkpoint that the engine was made of.
        is_gated: the gate accepted it.
        complaint: why not, in a sentence; empty when it did.
        golden: path and SHA-256 of its golden set; None when it has none.
        memory_bytes: what it needs on the device; 0 when not known.
    """

    entry: EngineCacheEntry
    weights_sha256: str
    is_gated: bool
    complaint: str
    golden: tuple[Path, str] | None = None
    memory_bytes: int = 0


def _choose(
    settings: Settings, engine: EngineSettings, spec: ArchitectureSpec, runtime: InferenceRuntime, host: HostTuple
) -> _ChosenEngine:
    if settings.engine_store is None or engine.runtime is RuntimeLabel.FAKE:
        return _bare_checkpoint(settings, engine, spec, runtime)
    store = EngineStore(settings.engine_store)
    options = _build_options(settings, engine, spec)
    if engine.engine_file:
        path = settings.engine_store / engine.engine_file
        if not path.exists():
            command = build_command(engine.model, engine.runtime, engine.precision, store.root, options)
            raise EngineManifestError(
                f"{store.root} has no file '{engine.engine_file}', which {engine.name}.engine_file names; leave it "
                f"empty to take the newest engine that fits, or build one: {command}"
            )
    else:
        found = store.find(
            model=engine.model, runtime=engine.runtime, precision=engine.precision, host=host, build_options=options
        )
        path = store.path_of(found)
    gate = EngineGate(store, host, require_signature=settings.require_signature, trusted_keys=settings.trusted_keys)
    verdict = gate.validate(path)
    if verdict.error is not None and not settings.allow_ungated:
        raise verdict.error
    if verdict.entry is None:
        raise verdict.error or EngineManifestError(f"the engine gate could not read {path}; build the engine again")
    judged = verdict.manifest_entry
    _refuse_other_model(EngineFileName.parse(path.name), judged, engine, spec)
    return _ChosenEngine(
        entry=verdict.entry,
        weights_sha256=verdict.entry.sha256 if judged is None else judged.weights_sha256,
        is_gated=verdict.error is None,
        complaint="" if verdict.error is None else str(verdict.error),
        golden=None if judged is None else store.golden_of(judged),
        memory_bytes=0 if judged is None else judged.memory_bytes,
    )


def _build_options(settings: Settings, engine: EngineSettings, spec: ArchitectureSpec) -> tuple[str, ...]:
    """What 'gdi engine build' needs besides, to build what these settings load."""
    options: list[str] = []
    if engine.runtime is RuntimeLabel.ONNX_TRT_EP and engine.device != "cpu":
        wanted = next((name for name in engine.onnx_providers if name != "cpu"), "cpu")
        options += ["--provider", wanted]
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
) -> _ChosenEngine:
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
    return _ChosenEngine(entry, entry.sha256, is_gated=False, complaint="a bare checkpoint (allow_ungated is set)")


def _reserve(budget: MemoryBudget, engine: EngineSettings, chosen: _ChosenEngine) -> Callable[[], None]:
    """Take the engine's share of the GPU's memory; returns what gives it back. Engines on the CPU take none."""
    if engine.device == "cpu":
        return lambda: None
    size = chosen.memory_bytes or chosen.entry.path.stat().st_size
    # Two engines of one name are resident while one is swapped for the other.
    reservation_id = f"{engine.name} ({chosen.entry.path.name}, #{next(_RESERVATIONS)})"
    budget.reserve(reservation_id, size)
    return lambda: budget.release(reservation_id)


def _checked_fidelity(
    settings: Settings,
    runtime: InferenceRuntime,
    handle: EngineHandle,
    spec: ArchitectureSpec,
    chosen: _ChosenEngine,
) -> FidelityReport | None:
    if chosen.golden is None:
        if chosen.is_gated:
            raise EngineFidelityError(
                f"{chosen.entry.path.name} has no golden set in the store, so its outputs cannot be checked; build the "
                "engine again with 'gdi engine build'"
            )
        return None
    report = measure_fidelity(runtime, handle, spec, read_golden(*chosen.golden))
    report.require(min_cosine=settings.fidelity_min_cosine, min_repeatability=settings.fidelity_min_repeatability)
    return report


def _checkpoint(engine: EngineSettings, spec: ArchitectureSpec, weights_dir: Path | None) -> Path:
    if engine.checkpoint is not None:
        return engine.checkpoint
    if engine.runtime is RuntimeLabel.FAKE:
        raise SettingsError(f"{engine.name}.checkpoint", "", "the path of a YAML script for the fake runtime")
    return locate_weights(spec, engine.model, weights_dir)


def _spec_with_overrides(spec: ArchitectureSpec, engine: EngineSettings) -> ArchitectureSpec:
    if engine.resize_mode is None:
        return spec
    return replace(spec, preprocess=replace(spec.preprocess, resize_mode=engine.resize_mode))
