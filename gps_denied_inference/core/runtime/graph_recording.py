"""Kernels recorded once as a CUDA graph and replayed: one launch a frame instead of hundreds from Python."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.architectures.install_commands import install_command
from gps_denied_inference.core.optional import require

if TYPE_CHECKING:
    import torch

__all__ = ["GraphRecording"]

_PASSES_BEFORE = 3  # as torch's notes on CUDA graphs ask: what is set up lazily must not fall into the recording


class GraphRecording:
    """What a function does on the device, with its results copied back to pinned memory, as one graph.

    Args:
        run: works on tensors whose addresses never change, and which the caller keeps as long as the recording; returns
            its outputs by name. Called a few times here, and never again.
        stream: where it is recorded and replayed.
        upload: queues copies to the device that belong into the graph, before `run`; nothing by default.

    Raises:
        RuntimeError: it cannot be recorded (it waits for the device, or its shapes depend on the data), or the memory
            does not suffice. The device is usable afterwards.
    """

    def __init__(
        self,
        run: Callable[[], Mapping[str, torch.Tensor]],
        stream: torch.cuda.Stream,
        *,
        upload: Callable[[], None] = lambda: None,
    ) -> None:
        torch = require("torch", install=install_command("torch"), purpose="the pytorch_fp16 runtime")
        self._torch = torch
        self._stream = stream
        torch.cuda.synchronize(stream.device)
        with torch.cuda.stream(stream):
            for _ in range(_PASSES_BEFORE):
                outputs = run()
            _refuse_waiting(torch, run)
        stream.synchronize()
        results = {
            name: torch.empty(output.shape, dtype=torch.float32, pin_memory=True) for name, output in outputs.items()
        }
        self._graph: Any = torch.cuda.CUDAGraph()
        # cuBLAS keeps a workspace for every stream: taken inside the recording it lies in the graph's own memory, and
        # goes with it; outside, each graph would leave 24 MiB behind.
        _clear_cublas_workspaces(torch)
        # Thread-local: while a second engine is loaded, the first one goes on working on its own thread.
        with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
            upload()
            for name, output in run().items():
                results[name].copy_(output.float(), non_blocking=True)
        _clear_cublas_workspaces(torch)
        self._outputs = {name: result.numpy() for name, result in results.items()}
        self._results = results  # the graph holds their addresses only
        # Not `stream.synchronize()`, which counts as a wait of the network that is looked for in `_refuse_waiting`.
        self._is_done: Any = torch.cuda.Event()

    def replay(self) -> dict[str, NDArray[np.float32]]:
        """Run the graph; returns copies of the outputs when the device is done."""
        with self._torch.cuda.stream(self._stream):
            self._graph.replay()
            self._is_done.record()
        self._is_done.synchronize()
        return {name: buffer.copy() for name, buffer in self._outputs.items()}


def _refuse_waiting(torch: Any, run: Callable[[], object]) -> None:
    """Run once and look for operations that wait for the device.

    A recording that one of them breaks leaves torch's allocator unable to give memory back, so it is not begun. The
    mode is the process's: the caller keeps other engines from working call by call meanwhile.

    Raises:
        RuntimeError: there is one.
    """
    mode = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            run()
        finally:
            torch.cuda.set_sync_debug_mode(mode)
    waiting = [item for item in caught if "called a synchronizing" in str(item.message)]
    if waiting:
        where = f"{waiting[0].filename.rsplit('/', 1)[-1]}:{waiting[0].lineno}"
        raise RuntimeError(f"it waits for the device in the middle ({len(waiting)} times, first at {where})")


def _clear_cublas_workspaces(torch: Any) -> None:
    # As torch's own compiler does around its recordings; not a public function, hence the guard.
    clear = getattr(torch._C, "_cuda_clearCublasWorkspaces", None)
    if clear is not None:
        clear()
