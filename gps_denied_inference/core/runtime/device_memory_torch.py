"""The seam to the GPU, through torch."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from gps_denied_inference.core.architectures.install_commands import install_command
from gps_denied_inference.core.errors import InferenceError, OutOfMemoryError, RuntimeNotAvailableError
from gps_denied_inference.core.optional import require
from gps_denied_inference.core.runtime.device_memory import TransferBuffer

__all__ = ["TorchStream"]


class TorchStream:
    """A stream made with torch; see `DeviceStream`.

    Args:
        index: of the GPU.

    Raises:
        RuntimeNotAvailableError: torch, its CUDA build or the GPU is absent.
    """

    def __init__(self, index: int) -> None:
        self._torch: Any = require("torch", install=install_command("torch"), purpose="memory for the tensorrt runtime")
        if not self._torch.cuda.is_available() or index >= self._torch.cuda.device_count():
            raise RuntimeNotAvailableError(
                f"torch {self._torch.__version__} finds {self._torch.cuda.device_count()} GPUs, none has index {index}"
            )
        self._device = self._torch.device("cuda", index)
        with self._errors("making a stream"):
            self._stream: Any = self._torch.cuda.Stream(self._device)

    @property
    def package(self) -> str:
        return f"torch {self._torch.__version__}"

    @property
    def handle(self) -> int:
        return int(self._stream.cuda_stream)

    def compute_capability(self) -> str:
        return "".join(map(str, self._torch.cuda.get_device_capability(self._device)))

    def activate(self) -> None:
        self._torch.cuda.set_device(self._device)

    def allocate(self, size_bytes: int) -> TransferBuffer:
        with self._errors(f"allocating {size_bytes} bytes on the GPU"):
            # The device first: it is the one that runs out.
            placed = self._torch.empty(size_bytes, dtype=self._torch.uint8, device=self._device)
            pinned = self._torch.empty(size_bytes, dtype=self._torch.uint8, pin_memory=True)
        return TransferBuffer(pinned.numpy(), int(placed.data_ptr()), (pinned, placed))

    def copy_to_device(self, buffer: TransferBuffer) -> None:
        pinned, placed = buffer.owner
        with self._errors("copying"), self._torch.cuda.stream(self._stream):
            placed.copy_(pinned, non_blocking=True)

    def copy_to_host(self, buffer: TransferBuffer) -> None:
        pinned, placed = buffer.owner
        with self._errors("copying"), self._torch.cuda.stream(self._stream):
            pinned.copy_(placed, non_blocking=True)

    def synchronize(self) -> None:
        with self._errors("waiting for the GPU"):
            self._stream.synchronize()

    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        graph = self._torch.cuda.CUDAGraph()
        with self._errors("recording a CUDA graph"), self._torch.cuda.stream(self._stream):
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                enqueue()
            except BaseException:
                # Or the stream stays captured. That too little was recorded is no news then.
                with warnings.catch_warnings(), contextlib.suppress(RuntimeError):
                    warnings.simplefilter("ignore")
                    graph.capture_end()
                raise
            graph.capture_end()

        def launch() -> None:
            with self._errors("launching a CUDA graph"), self._torch.cuda.stream(self._stream):
                graph.replay()

        return launch

    def close(self) -> None:
        # Tensors and graphs go with their last user; only work that is still queued must end first.
        with contextlib.suppress(InferenceError, OutOfMemoryError):
            self.synchronize()

    @contextlib.contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except self._torch.OutOfMemoryError as error:
            raise OutOfMemoryError(f"out of memory while {doing} ({error}); release other engines") from error
        except RuntimeError as error:
            kind = OutOfMemoryError if "out of memory" in str(error) else InferenceError
            raise kind(f"CUDA failed while {doing} ({error})") from error
