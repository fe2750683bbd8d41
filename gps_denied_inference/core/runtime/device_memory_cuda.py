"""The seam to the GPU, through cuda-python."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from gps_denied_inference.core.errors import InferenceError, OutOfMemoryError, RuntimeNotAvailableError
from gps_denied_inference.core.optional import require
from gps_denied_inference.core.runtime.device_memory import TransferBuffer

__all__ = ["CudaPythonStream"]


class CudaPythonStream:
    """A stream made with `cuda.bindings.runtime`; see `DeviceStream`.

    Args:
        index: of the GPU.

    Raises:
        RuntimeNotAvailableError: the package, the driver or the GPU is absent.
    """

    def __init__(self, index: int) -> None:
        self._cuda = require(
            "cuda.bindings.runtime", install="pip install cuda-python", purpose="memory for the tensorrt runtime"
        )
        self._index = index
        self._undo: list[Callable[[], Any]] = []
        try:
            count = self._call("counting the GPUs", self._cuda.cudaGetDeviceCount())
            if index >= count:
                raise RuntimeNotAvailableError(f"cuda-python finds {count} GPUs, none has index {index}")
            self.activate()
            self._stream = self._call(
                "making a stream", self._cuda.cudaStreamCreateWithFlags(self._cuda.cudaStreamNonBlocking)
            )
        except (InferenceError, RuntimeError) as error:  # RuntimeError: the CUDA library cannot be loaded
            raise RuntimeNotAvailableError(f"cuda-python cannot reach the GPU: {error}") from error
        self._undo.append(lambda: self._cuda.cudaStreamDestroy(self._stream))

    @property
    def package(self) -> str:
        return f"cuda-python {require('cuda.bindings', install='pip install cuda-python', purpose='CUDA').__version__}"

    @property
    def handle(self) -> int:
        return int(self._stream)

    def compute_capability(self) -> str:
        names = self._cuda.cudaDeviceAttr
        wanted = (names.cudaDevAttrComputeCapabilityMajor, names.cudaDevAttrComputeCapabilityMinor)
        return "".join(
            str(self._call("asking for the GPU's kind", self._cuda.cudaDeviceGetAttribute(name, self._index)))
            for name in wanted
        )

    def activate(self) -> None:
        self._call(f"choosing GPU {self._index}", self._cuda.cudaSetDevice(self._index))

    def allocate(self, size_bytes: int) -> TransferBuffer:
        # The device first: it is the one that runs out.
        device = int(self._call(f"allocating {size_bytes} bytes on the GPU", self._cuda.cudaMalloc(size_bytes)))
        self._undo.append(lambda: self._cuda.cudaFree(device))
        pinned = int(self._call("pinning host memory", self._cuda.cudaMallocHost(size_bytes)))
        self._undo.append(lambda: self._cuda.cudaFreeHost(pinned))
        host = np.ctypeslib.as_array((ctypes.c_uint8 * size_bytes).from_address(pinned))
        return TransferBuffer(host, device, self)

    def copy_to_device(self, buffer: TransferBuffer) -> None:
        self._copy(buffer.device_address, buffer.host.ctypes.data, buffer.host.nbytes, "HostToDevice")

    def copy_to_host(self, buffer: TransferBuffer) -> None:
        self._copy(buffer.host.ctypes.data, buffer.device_address, buffer.host.nbytes, "DeviceToHost")

    def synchronize(self) -> None:
        self._call("waiting for the GPU", self._cuda.cudaStreamSynchronize(self._stream))

    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("beginning a CUDA graph", self._cuda.cudaStreamBeginCapture(self._stream, mode))
        try:
            enqueue()
        finally:
            ended = self._cuda.cudaStreamEndCapture(self._stream)  # also after a failure, or the stream stays captured
        graph = self._call("ending a CUDA graph", ended)
        try:
            executable = self._call("preparing a CUDA graph", self._cuda.cudaGraphInstantiate(graph, 0))
        finally:
            self._cuda.cudaGraphDestroy(graph)
        self._undo.append(lambda: self._cuda.cudaGraphExecDestroy(executable))

        def launch() -> None:
            self._call("launching a CUDA graph", self._cuda.cudaGraphLaunch(executable, self._stream))

        return launch

    def close(self) -> None:
        if not self._undo:
            return
        self._cuda.cudaSetDevice(self._index)
        self._cuda.cudaStreamSynchronize(self._stream)
        while self._undo:
            self._undo.pop()()

    def _copy(self, target: int, source: int, size_bytes: int, direction: str) -> None:
        kind = getattr(self._cuda.cudaMemcpyKind, f"cudaMemcpy{direction}")
        self._call("copying", self._cuda.cudaMemcpyAsync(target, source, size_bytes, kind, self._stream))

    def _call(self, doing: str, result: tuple[Any, ...]) -> Any:
        """Take the value of a call apart from its error code."""
        code = result[0]
        if code != self._cuda.cudaError_t.cudaSuccess:
            sentence = self._cuda.cudaGetErrorString(code)[1]
            reason = f"{code.name}: {sentence.decode() if isinstance(sentence, bytes) else sentence}"
            # A failed call leaves its code for whoever asks next; it has been told.
            self._cuda.cudaGetLastError()
            if code == self._cuda.cudaError_t.cudaErrorMemoryAllocation:
                raise OutOfMemoryError(f"out of memory while {doing} ({reason}); release other engines")
            raise InferenceError(f"CUDA failed while {doing} ({reason})")
        return result[1] if len(result) > 1 else None
