"""The only composition root: settings → engine → runtime → pipeline. The node, the replay and `gdi` all come here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gps_denied_inference.core.architectures import ArchitectureRegistry, default_registry, locate_weights
from gps_denied_inference.core.contracts import (
    ArchitectureSpec,
    BuildConfig,
    RuntimeLabel,
    ThermalPublisher,
)
from gps_denied_inference.core.errors import EngineManifestError, SettingsError
from gps_denied_inference.core.pipeline import ModelIdentity, Pipeline
from gps_denied_inference.core.runtime import BuildFlags, RuntimeOptions, create_runtime
from gps_denied_inference.core.settings import EngineSettings, Settings

__all__ = ["assemble_pipeline"]


def assemble_pipeline(
    settings: Settings,
    engine_name: str | None = None,
    *,
    registry: ArchitectureRegistry | None = None,
    build_flags: BuildFlags | None = None,
    thermal_publisher: ThermalPublisher | None = None,
    clock: Callable[[], int] = time.monotonic_ns,
) -> Pipeline:
    """Load an engine and put a pipeline around it. Warm when it returns.

    Args:
        settings: validated settings.
        engine_name: which of `settings.engines`; the first, when None.
        registry: architectures; the default registry with `settings.architecture_modules`, when None.
        build_flags: which runtimes were built in; read from the environment and the installation, when None.
        thermal_publisher: whom the runtime asks for the thermal state.
        clock: steady clock, nanoseconds.

    Raises:
        UnknownArchitectureError: the model's name is not registered.
        RuntimeNotAvailableError: the runtime is disabled, or its package or device is absent.
        EngineManifestError: the engine did not pass the gate, and `allow_ungated` is off.
        EngineBuildError, EngineDeserializeError: the checkpoint is missing, or is not this network's.
        OutOfMemoryError: it does not fit the device.
    """
    engine = settings.engine(engine_name)
    if registry is None:
        registry = default_registry()
        registry.load_modules(settings.architecture_modules)
    architecture = registry.lookup(engine.model)
    runtime = create_runtime(
        engine.runtime,
        enabled=settings.enabled_runtimes,
        build_flags=build_flags if build_flags is not None else BuildFlags.load(),
        options=RuntimeOptions(
            device=engine.device,
            allow_cpu_fallback=settings.allow_cpu_fallback,
            per_frame_debug_log=settings.per_frame_debug_log,
        ),
        thermal_publisher=thermal_publisher,
        architecture_registry=registry,
        clock=clock,
    )
    checkpoint = _checkpoint(engine, architecture.spec, settings.weights_dir)
    if not settings.allow_ungated:
        raise EngineManifestError(
            f"engine '{engine.name}' would run the bare checkpoint {checkpoint}, which no engine gate has checked; "
            "on a desk set allow_ungated:=true (diagnostics will show it)"
        )
    config = BuildConfig(precision=engine.precision, extras={"model_name": engine.model})
    entry = runtime.compile_engine(checkpoint, config)
    handle = runtime.deserialize_engine(entry)
    identity = ModelIdentity(
        engine=engine.name,
        name=engine.model,
        weights_sha256=entry.sha256,
        spec=_spec_with_overrides(architecture.spec, engine),
        runtime_label=engine.runtime,
        configuration=handle.configuration,
        is_gated=False,
    )
    pipeline = Pipeline(runtime, handle, identity, top_k=engine.top_k, clock=clock)
    pipeline.warm_up()
    return pipeline


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
