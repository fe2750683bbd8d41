"""TensorRT: networks compiled for one kind of GPU before the flight."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.architectures import ArchitectureRegistry, default_registry
from gps_denied_inference.core.atomic_files import write_atomically
from gps_denied_inference.core.contracts import (
    ArchitectureSpec,
    BuildConfig,
    EffectiveConfiguration,
    EngineCacheEntry,
    EngineHandle,
    RuntimeLabel,
    ThermalPublisher,
    ThermalState,
)
from gps_denied_inference.core.errors import (
    EngineBuildError,
    EngineDeserializeError,
    InferenceError,
    RegistryError,
    RuntimeNotAvailableError,
)
from gps_denied_inference.core.runtime.device_memory import DeviceStream, gpu_index, open_device_stream
from gps_denied_inference.core.runtime.engine_file import model_name_of, read_checked, read_source
from gps_denied_inference.core.runtime.handles import HandleTable
from gps_denied_inference.core.runtime.input_validation import validate_inputs
from gps_denied_inference.core.runtime.tensorrt_binding import AUTO, TensorrtBinding, flavour_of, load_binding
from gps_denied_inference.core.runtime.tensorrt_builder import PlanSource, build_plan
from gps_denied_inference.core.runtime.tensorrt_network import TensorrtNetwork, deserialize_plan
from gps_denied_inference.core.runtime.tensorrt_options import TensorrtBuildOptions
from gps_denied_inference.core.runtime.tensorrt_progress import BuildProgress
from gps_denied_inference.core.runtime.thermal_source import read_thermal_state

__all__ = ["TensorrtRuntime"]

_LOGGER = logging.getLogger("gps_denied_inference.runtime")


class TensorrtRuntime:
    """Compiles ONNX models and runs the engines. Nothing is ever compiled when an engine is loaded.

    Which options a build takes in `BuildConfig.extras` says `TensorrtBuildOptions`. A context manager: leaving it
    releases every engine.

    Args:
        device: `cuda` or `cuda:N`. Looked at when an engine is loaded, not before.
        allow_cpu_fallback: TensorRT has no CPU to fall back to; taken so that all runtimes are made alike.
        per_frame_debug_log: one DEBUG line a frame.
        thermal_publisher: whom `thermal_state` asks.
        architecture_registry: where networks are found; the default registry, when None.
        clock: steady clock, nanoseconds.
        flavour: `tensorrt`, `tensorrt_rtx`, or `auto`: to load an engine the one that built it, to build the first
            that is there.
        find_binding: imports a flavour.
        open_stream: opens a GPU by its index.
    """

    def __init__(
        self,
        *,
        device: str = "cuda:0",
        allow_cpu_fallback: bool = False,
        per_frame_debug_log: bool = False,
        thermal_publisher: ThermalPublisher | None = None,
        architecture_registry: ArchitectureRegistry | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        flavour: str = AUTO,
        find_binding: Callable[[str], TensorrtBinding] = load_binding,
        open_stream: Callable[[int], DeviceStream] = open_device_stream,
    ) -> None:
        self._device = device
        self._allow_cpu_fallback = allow_cpu_fallback
        self._per_frame_debug_log = per_frame_debug_log
        self._thermal_publisher = thermal_publisher
        self._registry = architecture_registry
        self._clock = clock
        self._flavour = flavour
        self._find_binding = find_binding
        self._open_stream = open_stream
        self._networks: HandleTable[TensorrtNetwork] = HandleTable(RuntimeLabel.TENSORRT)

    def compile_engine(
        self,
        model_path: Path,
        build_config: BuildConfig,
        *,
        on_progress: Callable[[str, float], None] = lambda _phase, _fraction: None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> EngineCacheEntry:
        """Compile an ONNX file into `<stem>.engine`, complete or not at all; see `InferenceRuntime.compile_engine`.

        Args:
            model_path: the ONNX file.
            build_config: precision (that of the file), profiles, options.
            on_progress: called with TensorRT's phase and the fraction of the build that is done. What it raises ends
                the build.
            is_cancelled: asked often; True ends the build with EngineBuildError.

        Raises:
            CalibrationCacheError: the calibration cache is not to be trusted.
            OutOfMemoryError: the build does not fit the GPU.
            RuntimeNotAvailableError: TensorRT is absent, or the GPU that it is to be built for.
        """
        path = Path(model_path)
        options = TensorrtBuildOptions.from_extras(build_config.extras)
        content = read_source(path)
        binding = self._find_binding(self._flavour)
        targeted, sms = self._target(binding, options)
        plan = build_plan(
            binding,
            PlanSource(path, content),
            build_config,
            targeted,
            BuildProgress(on_progress, is_cancelled),
            lambda: self._open_stream(gpu_index(self._device)),
        )
        target = (options.output_dir or path.parent) / f"{path.stem}.engine"
        write_atomically(target, plan)
        extras = {
            "model_name": path.stem,
            **build_config.extras,
            "runtime": RuntimeLabel.TENSORRT.value,
            "flavour": binding.flavour,
            "source_onnx_sha256": hashlib.sha256(content).hexdigest(),
        }
        return EngineCacheEntry(
            path=target,
            sha256=hashlib.sha256(plan).hexdigest(),
            precision=build_config.precision,
            sm=",".join(sms),
            # One that was compiled ahead of time is for other computers.
            jetpack="" if binding.compute_capabilities else options.jetpack,
            tensorrt=binding.toolchain,
            extras=MappingProxyType(extras),
        )

    def deserialize_engine(self, entry: EngineCacheEntry) -> EngineHandle:
        """Load, compare with the registry, bind buffers and warm up; see `InferenceRuntime.deserialize_engine`."""
        model_name = model_name_of(entry)
        spec = self._spec(model_name)
        index = gpu_index(self._device)
        content = read_checked(entry)
        flavour = flavour_of(entry.tensorrt) if self._flavour == AUTO else self._flavour
        binding = self._find_binding(flavour)
        stream, no_gpu = self._stream_or_reason(index)
        network: TensorrtNetwork | None = None
        try:
            loaded = deserialize_plan(binding, content, entry.path)  # without a GPU: for TensorRT's own reason
            if stream is None:
                raise no_gpu
            network = TensorrtNetwork(binding, loaded, spec, stream, entry.path)
            network.warm_up()
        except BaseException as error:
            if network is not None:
                network.close()
            elif stream is not None:
                stream.close()
            if isinstance(error, InferenceError):
                raise EngineDeserializeError(f"{entry.path} does not run: {error}") from error
            raise
        way = f"no CUDA graph: {network.graph_refusal}" if network.graph_refusal else "CUDA graph"
        if network.graph_refusal:
            _LOGGER.warning("%s runs without a CUDA graph: %s", model_name, network.graph_refusal)
        configuration = EffectiveConfiguration(
            requested_precision=entry.precision,
            effective_precision=entry.precision,
            requested_device=self._device,
            effective_device=f"cuda:{index}",
            provider=f"{binding.title}, {stream.package}, {way}",
        )
        return self._networks.add(network, model_name=model_name, input_specs=spec.inputs, configuration=configuration)

    def infer(self, handle: EngineHandle, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """Run one forward pass; see `InferenceRuntime.infer`. The arrays returned are the caller's."""
        network = self._networks.get(handle)
        start_ns = self._clock()
        validate_inputs(handle.input_specs, inputs)
        validated_ns = self._clock()
        outputs = network.forward(inputs)
        if self._per_frame_debug_log:
            finished_ns = self._clock()
            _LOGGER.debug(
                "%s: validate %.3f ms, forward %.3f ms, total %.3f ms",
                handle.model_name,
                (validated_ns - start_ns) / 1e6,
                (finished_ns - validated_ns) / 1e6,
                (finished_ns - start_ns) / 1e6,
            )
        return outputs

    def release_engine(self, handle: EngineHandle) -> None:
        """Give the engine, its buffers and its stream back; see `InferenceRuntime.release_engine`."""
        network = self._networks.release(handle)
        if network is not None:
            network.close()

    def thermal_state(self) -> ThermalState:
        """Return what the thermal publisher knows; without one, a state that claims nothing."""
        return read_thermal_state(self._thermal_publisher)

    def current_runtime_label(self) -> str:
        """Return `tensorrt`."""
        return RuntimeLabel.TENSORRT.value

    def close(self) -> None:
        """Release every engine. Idempotent."""
        for network in self._networks.release_all():
            network.close()

    def __enter__(self) -> TensorrtRuntime:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _spec(self, model_name: str) -> ArchitectureSpec:
        registry = default_registry() if self._registry is None else self._registry
        try:
            return registry.lookup(model_name).spec
        except RegistryError as error:
            raise EngineDeserializeError(f"cannot load engine '{model_name}': {error}") from error

    def _compute_capability(self, binding: TensorrtBinding) -> str:
        """Of the GPU that is here, for which a build is when it names none."""
        try:
            stream = self._open_stream(gpu_index(self._device))
        except RuntimeNotAvailableError as error:
            known = binding.compute_capabilities
            if not known:
                raise
            raise EngineBuildError(
                f"no compute capability is named and this computer has no GPU to take it from; name one of "
                f"{', '.join(known)} (gdi engine build --sm; in a BuildConfig, extras['sms'])"
            ) from error
        try:
            return stream.compute_capability()
        finally:
            stream.close()

    def _target(
        self, binding: TensorrtBinding, options: TensorrtBuildOptions
    ) -> tuple[TensorrtBuildOptions, tuple[str, ...]]:
        """Options as the builder takes them, and the compute capabilities that the engine is for."""
        if binding.compute_capabilities:
            sms = options.sms or (self._compute_capability(binding),)
            return replace(options, sms=sms), sms
        here = (self._compute_capability(binding),)
        if options.sms in ((), here):
            return replace(options, sms=()), here
        return options, options.sms  # the builder refuses it by name

    def _stream_or_reason(self, index: int) -> tuple[DeviceStream | None, RuntimeNotAvailableError]:
        try:
            stream = self._open_stream(index)
        except RuntimeNotAvailableError as error:
            hint = " (allow_cpu_fallback has no effect here)" if self._allow_cpu_fallback else ""
            reason = RuntimeNotAvailableError(f"the tensorrt runtime needs its GPU{hint}: {error}")
            reason.__cause__ = error
            return None, reason
        try:
            stream.activate()
        except BaseException:
            stream.close()
            raise
        return stream, RuntimeNotAvailableError()
