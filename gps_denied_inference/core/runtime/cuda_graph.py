"""A network's kernels recorded once and replayed: one launch a frame instead of hundreds from Python."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.architectures.install_commands import install_command
from gps_denied_inference.core.contracts import TensorSpec
from gps_denied_inference.core.optional import require

if TYPE_CHECKING:
    import torch

__all__ = ["CudaGraph"]

_PASSES_BEFORE = 3  # as torch's notes on CUDA graphs ask: what is set up lazily must not fall into the recording


class CudaGraph:
    """Upload from pinned memory, network, and copy back to pinned memory, as one CUDA graph with static buffers.

    Args:
        run: the network on device tensors of the declared shapes and dtypes; returns its outputs by name. Called a few
            times here, and never again.
        inputs: what the network takes.
        device: of the network.

    Raises:
        RuntimeError: the network cannot be recorded (it waits for the device, or its shapes depend on the data), or
            the memory does not suffice. The device is usable afterwards.
    """

    def __init__(
        self,
        run: Callable[[Sequence[torch.Tensor]], Mapping[str, torch.Tensor]],
        inputs: Sequence[TensorSpec],
        device: torch.device,
    ) -> None:
        torch = require("torch", install=install_command("torch"), purpose="the pytorch_fp16 runtime")
        self._torch = torch
        self._stream: Any = torch.cuda.Stream(device)
        hosts = [torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype), pin_memory=True) for spec in inputs]
        tensors = [torch.zeros_like(host, device=device) for host in hosts]
        torch.cuda.synchronize(device)
        with torch.cuda.stream(self._stream):
            for _ in range(_PASSES_BEFORE):
                outputs = run(tensors)
            _refuse_waiting(torch, lambda: run(tensors))
        self._stream.synchronize()
        results = {
            name: torch.empty(output.shape, dtype=torch.float32, pin_memory=True) for name, output in outputs.items()
        }
        self._graph: Any = torch.cuda.CUDAGraph()
        # cuBLAS keeps a workspace for every stream: taken inside the recording it lies in the graph's own memory, and
        # goes with it; outside, each graph would leave 24 MiB behind.
        _clear_cublas_workspaces(torch)
        # Thread-local: while a second engine is loaded, the first one goes on working on its own thread.
        with torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode="thread_local"):
            for host, tensor in zip(hosts, tensors, strict=True):
                tensor.copy_(host, non_blocking=True)
            for name, output in run(tensors).items():
                results[name].copy_(output.float(), non_blocking=True)
        _clear_cublas_workspaces(torch)
        self._inputs = {spec.name: host.numpy() for spec, host in zip(inputs, hosts, strict=True)}
        self._outputs = {name: result.numpy() for name, result in results.items()}
        # The graph holds their addresses only.
        self._buffers = (hosts, tensors, results)

    def replay(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """Run the network on arrays of the declared shapes and dtypes; returns copies when the device is done."""
        for name, buffer in self._inputs.items():
            np.copyto(buffer, inputs[name])
        with self._torch.cuda.stream(self._stream):
            self._graph.replay()
        self._stream.synchronize()
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
