"""ONNX Runtime: exported networks on the CPU, on CUDA, or compiled by its TensorRT provider before the flight."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.architectures import ArchitectureEntry, ArchitectureRegistry, default_registry
from gps_denied_inference.core.contracts import (
    BuildConfig,
    EngineCacheEntry,
    EngineHandle,
    PrecisionMode,
    RuntimeLabel,
    ThermalPublisher,
    ThermalState,
)
from gps_denied_inference.core.errors import (
    EngineBuildError,
    EngineDeserializeError,
    RegistryError,
    RuntimeNotAvailableError,
)
from gps_denied_inference.core.runtime.engine_file import entry_for, model_name_of, read_checked, read_source
from gps_denied_inference.core.runtime.handles import HandleTable
from gps_denied_inference.core.runtime.input_validation import validate_inputs
from gps_denied_inference.core.runtime.onnx_ep_context import build_ep_context, holds_ep_context
from gps_denied_inference.core.runtime.onnx_errors import onnxruntime_errors, require_onnxruntime
from gps_denied_inference.core.runtime.onnx_metadata import require_declared_metadata
from gps_denied_inference.core.runtime.onnx_network import (
    OnnxNetwork,
    SessionThreads,
    make_session,
    require_declared_interface,
)
from gps_denied_inference.core.runtime.onnx_providers import (
    PROVIDERS,
    ProviderRequest,
    device_index,
    judge_placement,
    request_providers,
)
from gps_denied_inference.core.runtime.thermal_source import read_thermal_state

__all__ = ["OnnxTrtEpRuntime"]

_LOGGER = logging.getLogger("gps_denied_inference.runtime")
_PRECISIONS = (PrecisionMode.FP16, PrecisionMode.FP32)


class OnnxTrtEpRuntime:
    """Runs ONNX models. Nothing is ever compiled when an engine is loaded.

    Engines for the CPU and CUDA providers are the ONNX file itself; for TensorRT, an ONNX file that holds what
    `compile_engine` built with `extras["provider"] == "tensorrt"`. A context manager: leaving it releases every engine.

    Args:
        device: `cuda`, `cuda:N` or `cpu`. Looked at when an engine is loaded, not before.
        allow_cpu_fallback: take another provider than the wanted one, or nodes that run elsewhere; the handle's
            configuration says which and why.
        per_frame_debug_log: one DEBUG line a frame.
        thermal_publisher: whom `thermal_state` asks.
        architecture_registry: where networks are found; the default registry, when None.
        clock: steady clock, nanoseconds.
        providers: `tensorrt`, `cuda`, `cpu`, best first; those that don't belong to the device are left out.
        intra_op_threads: threads of one operator on the CPU; 0: one for each core.
        allow_spinning: whether they spin while they wait.
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
        providers: Sequence[str] = ("tensorrt", "cuda", "cpu"),
        intra_op_threads: int = 0,
        allow_spinning: bool = False,
    ) -> None:
        self._device = device
        self._allow_cpu_fallback = allow_cpu_fallback
        self._per_frame_debug_log = per_frame_debug_log
        self._thermal_publisher = thermal_publisher
        self._registry = architecture_registry
        self._clock = clock
        self._providers = tuple(providers)
        self._threads = SessionThreads(intra_op_threads, allow_spinning)
        self._networks: HandleTable[OnnxNetwork] = HandleTable(RuntimeLabel.ONNX_TRT_EP)

    def compile_engine(self, model_path: Path, build_config: BuildConfig) -> EngineCacheEntry:
        """Validate an ONNX file, and compile it for TensorRT where `extras["provider"]` says so.

        See `InferenceRuntime.compile_engine`. `extras["model_name"]` is the file's stem unless `build_config.extras`
        has it; `extras["provider"]` is `cpu`, `cuda` or `tensorrt`, and may be left out.

        Raises:
            RuntimeNotAvailableError: ONNX Runtime is absent, or has no TensorRT provider where one is asked for.
        """
        path = Path(model_path)
        provider = build_config.extras.get("provider", "")
        if provider and provider not in PROVIDERS:
            raise EngineBuildError(f"provider is {provider!r}; ask for one of {', '.join(PROVIDERS)}")
        if build_config.precision not in _PRECISIONS:
            allowed = " or ".join(precision.value for precision in _PRECISIONS)
            raise EngineBuildError(
                f"runtime 'onnx_trt_ep' cannot compute in {build_config.precision.value}; ask for {allowed}"
            )
        content = read_source(path)
        if holds_ep_context(content):
            raise EngineBuildError(f"{path} is compiled already; give the ONNX model that it was made of")
        with onnxruntime_errors(f"reading {path} as an ONNX model for onnx_trt_ep", EngineBuildError):
            session = make_session(content, [(PROVIDERS["cpu"], {})], SessionThreads(1), is_optimized=False)
            stated = session.get_modelmeta().custom_metadata_map
        if provider == "tensorrt":
            compiled = build_ep_context(path, content, build_config, device_index(self._device))
            extras = MappingProxyType({"model_name": path.stem, **build_config.extras})
            config = BuildConfig(build_config.precision, build_config.profiles, extras)
            return entry_for(compiled, read_source(compiled), config, RuntimeLabel.ONNX_TRT_EP)
        # TensorRT lowers the precision itself; the other providers compute in that of the file.
        if stated.get("precision", build_config.precision.value) != build_config.precision.value:
            raise EngineBuildError(
                f"{path} was exported in {stated['precision']}, not {build_config.precision.value}; export it again or "
                f"ask for {stated['precision']}"
            )
        return entry_for(path, content, build_config, RuntimeLabel.ONNX_TRT_EP)

    def deserialize_engine(self, entry: EngineCacheEntry) -> EngineHandle:
        """Load, compare with the registry and the request, and warm up; see `InferenceRuntime.deserialize_engine`."""
        model_name = model_name_of(entry)
        if entry.precision not in _PRECISIONS:
            raise EngineDeserializeError(
                f"{entry.path} asks for {entry.precision.value}, which runtime 'onnx_trt_ep' cannot compute; build the "
                "engine again with fp16 or fp32"
            )
        spec = self._architecture(model_name).spec
        ort = require_onnxruntime()
        content = read_checked(entry)
        request = self._request(entry, is_ep_context=holds_ep_context(content), available=ort.get_available_providers())
        with onnxruntime_errors(f"loading '{model_name}' from {entry.path}", EngineDeserializeError):
            session = make_session(content, request.session_providers(), self._threads)
            require_declared_interface(session, spec, str(entry.path))
            require_declared_metadata(session.get_modelmeta().custom_metadata_map, entry, model_name, spec)
            configuration = judge_placement(request, session, ort.__version__, allow_fallback=self._allow_cpu_fallback)
            if self._threads.allow_spinning:
                configuration = replace(configuration, provider=f"{configuration.provider}, threads spin")
            network = OnnxNetwork(session, spec, request.device_index)
            network.warm_up()
        return self._networks.add(network, model_name=model_name, input_specs=spec.inputs, configuration=configuration)

    def infer(self, handle: EngineHandle, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """Run one forward pass; see `InferenceRuntime.infer`. The arrays returned are the caller's."""
        network = self._networks.get(handle)
        start_ns = self._clock()
        validate_inputs(handle.input_specs, inputs)
        validated_ns = self._clock()
        with onnxruntime_errors(f"running '{handle.model_name}'"):
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
        """Drop the session, and with it its memory; see `InferenceRuntime.release_engine`."""
        self._networks.release(handle)

    def thermal_state(self) -> ThermalState:
        """Return what the thermal publisher knows; without one, a state that claims nothing."""
        return read_thermal_state(self._thermal_publisher)

    def current_runtime_label(self) -> str:
        """Return `onnx_trt_ep`."""
        return RuntimeLabel.ONNX_TRT_EP.value

    def close(self) -> None:
        """Release every engine. Idempotent."""
        self._networks.release_all()

    def __enter__(self) -> OnnxTrtEpRuntime:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _architecture(self, model_name: str) -> ArchitectureEntry:
        registry = default_registry() if self._registry is None else self._registry
        try:
            return registry.lookup(model_name)
        except RegistryError as error:
            raise EngineDeserializeError(f"cannot load engine '{model_name}': {error}") from error

    def _request(self, entry: EngineCacheEntry, *, is_ep_context: bool, available: Sequence[str]) -> ProviderRequest:
        provider = entry.extras.get("provider", "")
        if provider == "tensorrt" and not is_ep_context:
            raise EngineDeserializeError(
                f"{entry.path} is said to be compiled for TensorRT and holds no compiled part; nothing is compiled "
                "when an engine is loaded: build it with --provider tensorrt before the flight"
            )
        if is_ep_context and self._device == "cpu":
            raise RuntimeNotAvailableError(
                f"{entry.path} is compiled for TensorRT and cannot run on the CPU; set device to the GPU, or build an "
                "engine with --provider cpu"
            )
        return request_providers(
            preference=self._providers,
            device=self._device,
            precision=entry.precision,
            is_ep_context=is_ep_context,
            is_for_cuda=provider == "cuda",
            available=available,
            allow_fallback=self._allow_cpu_fallback,
        )
