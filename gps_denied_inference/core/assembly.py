"""The only composition root: settings → gated engine → runtime → pipeline. The node, the replay and `gdi` come here."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from gps_denied_inference.core.architectures import (
    ArchitectureRegistry,
    default_registry,
    require_accepted_license,
)
from gps_denied_inference.core.contracts import (
    ArchitectureSpec,
    EffectiveConfiguration,
    EngineHandle,
    RuntimeLabel,
    ThermalPublisher,
)
from gps_denied_inference.core.engine_choice import ChosenEngine, choose_engine
from gps_denied_inference.core.engines import (
    FidelityReport,
    HostTuple,
    MemoryBudget,
    measure_fidelity,
    probe_host,
    read_golden,
)
from gps_denied_inference.core.errors import EngineFidelityError, SettingsError
from gps_denied_inference.core.imaging import Decoder, decode
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
    decoder: Decoder | None = None,
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
        decoder: shared by pipelines that work on the same frames; `decode`, when None.
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
            decoder=decode if decoder is None else decoder,
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
    chosen = choose_engine(settings, engine, spec, runtime, probe_host() if host is None else host)
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
                configuration=_as_asked(handle.configuration, engine, chosen.fallback_reason),
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


def _reserve(budget: MemoryBudget, engine: EngineSettings, chosen: ChosenEngine) -> Callable[[], None]:
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
    chosen: ChosenEngine,
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


def _as_asked(
    configuration: EffectiveConfiguration, engine: EngineSettings, fallback_reason: str
) -> EffectiveConfiguration:
    """What a runtime tells, with the precision of the settings where an engine of another one was taken."""
    if not fallback_reason:
        return configuration
    reasons = "; ".join(filter(None, (fallback_reason, configuration.fallback_reason)))
    return replace(configuration, requested_precision=engine.precision, fallback_reason=reasons)


def _spec_with_overrides(spec: ArchitectureSpec, engine: EngineSettings) -> ArchitectureSpec:
    if engine.resize_mode is None:
        return spec
    return replace(spec, preprocess=replace(spec.preprocess, resize_mode=engine.resize_mode))
