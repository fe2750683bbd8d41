"""The baseline runtime: plain PyTorch, half precision on CUDA."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.architectures import ArchitectureEntry, ArchitectureRegistry, default_registry
from gps_denied_inference.core.contracts import (
    BuildConfig,
    EffectiveConfiguration,
    EngineCacheEntry,
    EngineHandle,
    PrecisionMode,
    PreprocessSpec,
    RuntimeLabel,
    ThermalPublisher,
    ThermalState,
)
from gps_denied_inference.core.errors import EngineBuildError, EngineDeserializeError, RegistryError
from gps_denied_inference.core.runtime.cuda_graph import CudaGraph
from gps_denied_inference.core.runtime.engine_file import entry_for, model_name_of, read_checked, read_source
from gps_denied_inference.core.runtime.handles import HandleTable
from gps_denied_inference.core.runtime.image_inference import ImageInference
from gps_denied_inference.core.runtime.input_validation import validate_inputs
from gps_denied_inference.core.runtime.thermal_source import read_thermal_state
from gps_denied_inference.core.runtime.torch_checkpoint import state_dict_from_bytes
from gps_denied_inference.core.runtime.torch_network import TorchNetwork, backend_errors, give_back_memory
from gps_denied_inference.core.runtime.torch_placement import choose_placement

if TYPE_CHECKING:
    import torch

__all__ = ["PytorchFp16Runtime"]

_LOGGER = logging.getLogger("gps_denied_inference.runtime")
_PRECISIONS = (PrecisionMode.FP16, PrecisionMode.FP32)


class PytorchFp16Runtime:
    """Runs checkpoints with PyTorch. An engine is the checkpoint itself: nothing is compiled.

    A context manager: leaving it releases every engine.

    Args:
        device: `cuda`, `cuda:N` or `cpu`. Looked at when an engine is loaded, not before.
        allow_cpu_fallback: without that device run in FP32 on the CPU; the handle's configuration says why.
        per_frame_debug_log: one DEBUG line a frame.
        use_cuda_graph: replay networks from a CUDA graph where they can be recorded; False: always call by call.
        thermal_publisher: whom `thermal_state` asks.
        architecture_registry: where networks are found; the default registry, when None.
        clock: steady clock, nanoseconds.
    """

    def __init__(
        self,
        *,
        device: str = "cuda:0",
        allow_cpu_fallback: bool = False,
        per_frame_debug_log: bool = False,
        use_cuda_graph: bool = True,
        thermal_publisher: ThermalPublisher | None = None,
        architecture_registry: ArchitectureRegistry | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._device = device
        self._allow_cpu_fallback = allow_cpu_fallback
        self._per_frame_debug_log = per_frame_debug_log
        self._recorder = CudaGraph if use_cuda_graph else None
        self._thermal_publisher = thermal_publisher
        self._registry = architecture_registry
        self._clock = clock
        self._networks: HandleTable[TorchNetwork] = HandleTable(RuntimeLabel.PYTORCH_FP16)

    def compile_engine(self, model_path: Path, build_config: BuildConfig) -> EngineCacheEntry:
        """Validate a checkpoint and describe it; see `InferenceRuntime.compile_engine`.

        `extras["model_name"]` is the file's stem unless `build_config.extras` has it.
        """
        path = Path(model_path)
        if build_config.precision not in _PRECISIONS:
            allowed = " or ".join(precision.value for precision in _PRECISIONS)
            raise EngineBuildError(
                f"runtime 'pytorch_fp16' cannot compute in {build_config.precision.value}; ask for {allowed}"
            )
        content = read_source(path)
        try:
            state_dict_from_bytes(content, path.suffix, str(path))
        except ValueError as error:
            raise EngineBuildError(str(error)) from (error.__cause__ or error)
        return entry_for(path, content, build_config, RuntimeLabel.PYTORCH_FP16)

    def deserialize_engine(self, entry: EngineCacheEntry) -> EngineHandle:
        """Build, load strictly, move to the device and warm up; see `InferenceRuntime.deserialize_engine`."""
        model_name = model_name_of(entry)
        if entry.precision not in _PRECISIONS:
            raise EngineDeserializeError(
                f"{entry.path} asks for {entry.precision.value}, which runtime 'pytorch_fp16' cannot compute; build "
                "the engine again with fp16 or fp32"
            )
        architecture = self._architecture(model_name)
        configuration = choose_placement(self._device, entry.precision, allow_cpu_fallback=self._allow_cpu_fallback)
        state_dict = self._state_dict(entry)
        with backend_errors(f"loading '{model_name}' on {configuration.effective_device}", EngineDeserializeError):
            network = self._warm_network(architecture, state_dict, configuration)
        if network.way:
            configuration = replace(configuration, provider=f"{configuration.provider}, {network.way}")
        return self._networks.add(
            network,
            model_name=model_name,
            input_specs=architecture.spec.inputs,
            configuration=configuration,
        )

    def infer(self, handle: EngineHandle, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """Run one forward pass; see `InferenceRuntime.infer`. The arrays returned are the caller's."""
        network = self._networks.get(handle)
        start_ns = self._clock()
        validate_inputs(handle.input_specs, inputs, looks_for_nan=not network.is_recorded)
        validated_ns = self._clock()
        with backend_errors(f"running '{handle.model_name}'"):
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

    def image_inference(self, handle: EngineHandle, spec: PreprocessSpec) -> ImageInference | None:
        """See `TakesImages.image_inference`: on CUDA, where the network is replayed from a graph."""
        inference = self._networks.get(handle).image_inference(spec)
        return None if inference is None else _GuardedImageInference(inference, handle.model_name)

    def release_engine(self, handle: EngineHandle) -> None:
        """Drop the network and return its memory to the device; see `InferenceRuntime.release_engine`."""
        if self._networks.release(handle) is not None:
            with backend_errors(f"releasing '{handle.model_name}'"):
                give_back_memory()

    def thermal_state(self) -> ThermalState:
        """Return what the thermal publisher knows; without one, a state that claims nothing."""
        return read_thermal_state(self._thermal_publisher)

    def current_runtime_label(self) -> str:
        """Return `pytorch_fp16`."""
        return RuntimeLabel.PYTORCH_FP16.value

    def close(self) -> None:
        """Release every engine. Idempotent."""
        if self._networks.release_all():
            give_back_memory()

    def __enter__(self) -> PytorchFp16Runtime:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _warm_network(
        self,
        architecture: ArchitectureEntry,
        state_dict: Mapping[str, torch.Tensor],
        configuration: EffectiveConfiguration,
    ) -> TorchNetwork:
        # A frame of its own: when the memory is exhausted here, it is cleared, and holds the parameters no longer.
        network = TorchNetwork(architecture, state_dict, configuration, recorder=self._recorder)
        network.warm_up()
        return network

    def _architecture(self, model_name: str) -> ArchitectureEntry:
        registry = default_registry() if self._registry is None else self._registry
        try:
            return registry.lookup(model_name)
        except RegistryError as error:
            raise EngineDeserializeError(f"cannot load engine '{model_name}': {error}") from error

    @staticmethod
    def _state_dict(entry: EngineCacheEntry) -> dict[str, torch.Tensor]:
        content = read_checked(entry)
        try:
            return state_dict_from_bytes(content, entry.path.suffix, str(entry.path))
        except ValueError as error:
            raise EngineDeserializeError(str(error)) from (error.__cause__ or error)


class _GuardedImageInference:
    """Lets only our family of errors out."""

    def __init__(self, inference: ImageInference, model_name: str) -> None:
        self._inference = inference
        self._doing = f"running '{model_name}' on an image"

    def warm_up(self) -> None:
        with backend_errors(self._doing):
            self._inference.warm_up()

    def infer_image(self, image_hwc: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]] | None:
        with backend_errors(self._doing):
            return self._inference.infer_image(image_hwc)
