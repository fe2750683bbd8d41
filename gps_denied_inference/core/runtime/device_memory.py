"""The seam to the GPU: a stream with pinned and device memory, through whichever package is there."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.errors import RuntimeNotAvailableError

__all__ = ["DeviceStream", "TransferBuffer", "gpu_index", "open_device_stream"]


@dataclass(frozen=True, slots=True)
class TransferBuffer:
    """Memory on both sides, of one size. Valid until its stream is closed.

    Attributes:
        host: pinned bytes, uint8.
        device_address: of the bytes on the GPU.
        owner: what keeps both alive.
    """

    host: NDArray[np.uint8]
    device_address: int
    owner: Any


class DeviceStream(Protocol):
    """A stream of one GPU and the memory that it works on.

    Copies and launches only queue work; `synchronize` waits for it. Every method may be called from any thread, one at
    a time. All raise OutOfMemoryError when the device's memory is exhausted, and InferenceError when CUDA fails.
    """

    @property
    def package(self) -> str:
        """Name and version of the package behind it."""
        ...

    @property
    def handle(self) -> int:
        """CUDA's handle of the stream."""
        ...

    def compute_capability(self) -> str:
        """Of the GPU, without the point, e.g. `87`."""
        ...

    def activate(self) -> None:
        """Make the GPU the calling thread's."""
        ...

    def allocate(self, size_bytes: int) -> TransferBuffer: ...

    def copy_to_device(self, buffer: TransferBuffer) -> None: ...

    def copy_to_host(self, buffer: TransferBuffer) -> None: ...

    def synchronize(self) -> None: ...

    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        """Record what `enqueue` queues as a CUDA graph, without running it; the result queues the graph."""
        ...

    def close(self) -> None:
        """Give the memory and the stream back. Idempotent."""
        ...


def gpu_index(device: str) -> int:
    """Index of the GPU that a device setting names.

    Raises:
        RuntimeNotAvailableError: it names no GPU.
    """
    match = re.fullmatch(r"cuda(?::([0-9]+))?", device)
    if match is None:
        raise RuntimeNotAvailableError(
            f"the tensorrt runtime needs a GPU and device is '{device}'; set it to cuda:0, or use the runtime "
            "onnx_trt_ep on the CPU"
        )
    return int(match.group(1) or 0)


def open_device_stream(index: int) -> DeviceStream:
    """Open a stream on a GPU, with cuda-python or else torch.

    Raises:
        RuntimeNotAvailableError: neither can reach the GPU; gives both reasons.
        OutOfMemoryError: the GPU has no memory for a stream.
    """
    # Imported here: each belongs to one optional package.
    from gps_denied_inference.core.runtime.device_memory_cuda import CudaPythonStream
    from gps_denied_inference.core.runtime.device_memory_torch import TorchStream

    reasons: list[str] = []
    cause: Exception | None = None
    for opened in (CudaPythonStream, TorchStream):
        try:
            return opened(index)
        except RuntimeNotAvailableError as error:
            reasons.append(str(error))
            cause = error
    raise RuntimeNotAvailableError(f"cannot use GPU {index}: {'; '.join(reasons)}") from cause
