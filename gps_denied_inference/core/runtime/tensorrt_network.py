"""A network in a TensorRT engine, with the buffers that it reads and writes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import ArchitectureSpec
from gps_denied_inference.core.errors import (
    EngineDeserializeError,
    GpsDeniedInferenceError,
    InferenceError,
    OutOfMemoryError,
)
from gps_denied_inference.core.runtime.device_memory import DeviceStream, TransferBuffer
from gps_denied_inference.core.runtime.tensorrt_binding import TensorrtBinding
from gps_denied_inference.core.runtime.tensorrt_logger import TensorrtReportedError, collected_sentences, process_logger
from gps_denied_inference.core.runtime.tensorrt_profiles import require_shape

__all__ = ["TensorrtNetwork", "deserialize_plan"]

_WARM_UP_PASSES = 3  # the first compiles and allocates what TensorRT put off


def deserialize_plan(binding: TensorrtBinding, content: bytes, source: Path) -> tuple[Any, Any]:
    """Load a serialized engine.

    Returns:
        TensorRT's runtime and its engine; the runtime must outlive the engine.

    Raises:
        EngineDeserializeError: TensorRT refuses it; its cause holds TensorRT's sentences.
        OutOfMemoryError: it does not fit the GPU.
    """
    logger = process_logger(binding.module)
    with collected_sentences(logger) as sentences:
        runtime = binding.module.Runtime(logger)
        engine = None if runtime is None else runtime.deserialize_cuda_engine(content)
    if engine is None:
        said = TensorrtReportedError(sentences)
        if said.is_out_of_memory:
            raise OutOfMemoryError(
                f"{source} does not fit the GPU: {said.first}. Release other engines or take a smaller network"
            ) from said
        raise EngineDeserializeError(
            f"{binding.title} refuses {source}: {said.first}. Build the engine again on the computer that runs it"
        ) from said
    return runtime, engine


class TensorrtNetwork:
    """An engine whose inputs and outputs have their buffers, and whose passes are one CUDA graph where that works.

    Args:
        binding: TensorRT.
        loaded: what `deserialize_plan` returned.
        spec: of the network; its shapes are the ones that run.
        stream: of the GPU; the network closes it, also when it cannot be made.
        source: the engine's file, for messages.

    Attributes:
        graph_refusal: why passes are no CUDA graph; empty when they are, and before `warm_up`.

    Raises:
        EngineDeserializeError: its inputs or outputs are not those of the specification.
        OutOfMemoryError: its activations or buffers do not fit the GPU.
    """

    def __init__(
        self,
        binding: TensorrtBinding,
        loaded: tuple[Any, Any],
        spec: ArchitectureSpec,
        stream: DeviceStream,
        source: Path,
    ) -> None:
        self._runtime, self._engine = loaded
        self._binding = binding
        self._spec = spec
        self._stream = stream
        self._source = source
        self._lock = threading.Lock()  # the buffers are shared by all calls
        self._inputs: dict[str, tuple[TransferBuffer, NDArray[Any]]] = {}
        self._outputs: dict[str, tuple[TransferBuffer, NDArray[Any]]] = {}
        self._replay: Callable[[], None] | None = None
        self._context: Any = None
        self.graph_refusal = ""
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def warm_up(self) -> None:
        """Run on blank inputs, record the CUDA graph, and run that. The first pass is then as fast as the others."""
        blank = {item.name: np.zeros(item.shape, dtype=item.dtype) for item in self._spec.inputs}
        for _ in range(_WARM_UP_PASSES):
            self.forward(blank)
        self._record()
        self.forward(blank)

    def forward(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """Run the network. Returns when the device is done; the arrays share no memory with the buffers."""
        with self._lock:
            if self._context is None:
                raise InferenceError(f"{self._source} was released; deserialize the engine again")
            self._stream.activate()
            for name, (_, host) in self._inputs.items():
                np.copyto(host, inputs[name])
            with self._explained("running"):
                if self._replay is None:
                    self._enqueue()
                else:
                    self._replay()
                self._stream.synchronize()
            return {
                name: np.array(host, dtype=np.float32, order="C", copy=True)
                for name, (_, host) in self._outputs.items()
            }

    def close(self) -> None:
        """Give the memory back. Waits for a pass that runs. Idempotent."""
        with self._lock:
            self._inputs, self._outputs = {}, {}
            self._replay = None
            # In this order: each needs the next.
            self._context = self._engine = self._runtime = None
            self._stream.close()

    def _prepare(self) -> None:
        self._stream.activate()
        self._require_interface()
        with collected_sentences(process_logger(self._binding.module)) as sentences:
            self._context = self._engine.create_execution_context()
        if self._context is None:
            said = TensorrtReportedError(sentences)
            kind = OutOfMemoryError if said.is_out_of_memory else EngineDeserializeError
            raise kind(f"{self._source} cannot be made ready to run: {said.first}") from said
        for item in self._spec.inputs:
            if not self._context.set_input_shape(item.name, item.shape):
                raise EngineDeserializeError(f"{self._source} refuses the shape {item.shape} of input '{item.name}'")
        for item in self._spec.inputs:
            self._inputs[item.name] = self._bound(item.name)
        for name in self._spec.output_names:
            self._outputs[name] = self._bound(name)
        # Outputs that nobody asked for need memory all the same.
        self._unused = [self._bound(name) for name in self._names() if name not in {*self._inputs, *self._outputs}]

    def _names(self) -> list[str]:
        return [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]

    def _require_interface(self) -> None:
        module = self._binding.module
        modes = {name: self._engine.get_tensor_mode(name) for name in self._names()}
        inputs = sorted(name for name, mode in modes.items() if mode == module.TensorIOMode.INPUT)
        declared = {item.name: item for item in self._spec.inputs}
        if inputs != sorted(declared):
            raise EngineDeserializeError(
                f"{self._source} takes inputs {inputs}; the registered network takes {sorted(declared)}. Build the "
                "engine again from this network"
            )
        for name, item in declared.items():
            found = self._dtype(name)
            if found != np.dtype(item.dtype):
                raise EngineDeserializeError(
                    f"input '{name}' of {self._source} is {found}; the registered network takes {item.dtype}. Build "
                    "the engine again from this network"
                )
            require_shape(self._engine, name, item.shape, self._source)
        missing = [name for name in self._spec.output_names if name not in modes or name in declared]
        if missing:
            raise EngineDeserializeError(
                f"{self._source} gives outputs {sorted(set(modes) - set(inputs))}, without {missing} of the registered "
                "network. Build the engine again from this network"
            )
        wrong = [name for name in self._spec.output_names if self._dtype(name) not in (np.float32, np.float16)]
        if wrong:
            raise EngineDeserializeError(f"outputs {wrong} of {self._source} are not floating-point; export it again")

    def _dtype(self, name: str) -> np.dtype[Any] | None:
        return self._binding.numpy_dtype(self._engine.get_tensor_dtype(name))

    def _bound(self, name: str) -> tuple[TransferBuffer, NDArray[Any]]:
        """Allocate the buffer of a tensor, tell TensorRT, and view its host side as the array that it is."""
        shape, dtype = tuple(self._context.get_tensor_shape(name)), self._dtype(name)
        if dtype is None or any(size < 0 for size in shape):
            raise EngineDeserializeError(
                f"'{name}' of {self._source} has the shape {shape} and an element type that we don't read, or sizes "
                "that depend on its values; export the network with fixed sizes"
            )
        size_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        buffer = self._stream.allocate(max(size_bytes, 1))
        if not self._context.set_tensor_address(name, buffer.device_address):
            raise EngineDeserializeError(f"{self._source} refuses a buffer for '{name}'; build the engine again")
        return buffer, buffer.host[:size_bytes].view(dtype).reshape(shape)

    def _enqueue(self) -> None:
        for buffer, _ in self._inputs.values():
            self._stream.copy_to_device(buffer)
        if not self._context.execute_async_v3(self._stream.handle):
            raise InferenceError("TensorRT did not start")
        for buffer, _ in self._outputs.values():
            self._stream.copy_to_host(buffer)

    def _record(self) -> None:
        """Shapes and addresses never change, so that one graph can do copies and network with a single launch."""
        with self._lock:
            self._stream.activate()
            can_tell = getattr(self._context, "is_stream_capturable", None)  # TensorRT for RTX alone
            if can_tell is not None and not can_tell(self._stream.handle):
                self.graph_refusal = "TensorRT says that this network cannot be captured"
                return
            try:
                with self._explained("recording a CUDA graph"):
                    self._replay = self._stream.capture(self._enqueue)
            except InferenceError as error:
                self.graph_refusal = str(error)

    @contextlib.contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """Add what TensorRT said to what failed."""
        with collected_sentences(process_logger(self._binding.module)) as sentences:
            try:
                yield
            except OutOfMemoryError:
                raise
            except GpsDeniedInferenceError as error:
                said = TensorrtReportedError(sentences)
                reason = f"{error}: {said.first}" if sentences else str(error)
                kind = OutOfMemoryError if said.is_out_of_memory else InferenceError
                raise kind(f"TensorRT failed while {doing} {self._source.name} ({reason})") from (
                    said if sentences else error
                )
