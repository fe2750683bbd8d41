"""A network replayed from a CUDA graph, prepared input in, outputs out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.architectures.install_commands import install_command
from gps_denied_inference.core.contracts import TensorSpec
from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.optional import require
from gps_denied_inference.core.runtime.graph_recording import GraphRecording

if TYPE_CHECKING:
    import torch

__all__ = ["CudaGraph"]

_LARGEST = "largest magnitudes of the inputs"
"""Name of one more output: the device looks for NaN and Inf, which a maximum passes on, beside the network."""


class CudaGraph:
    """Upload from pinned memory, network, and copy back to pinned memory, as one CUDA graph with static buffers.

    Args:
        run: the network on device tensors of the declared shapes and dtypes; returns its outputs by name. Called a few
            times here, and never again.
        inputs: what the network takes.
        device: of the network.

    Raises:
        RuntimeError: the network cannot be recorded; see `GraphRecording`.
    """

    def __init__(
        self,
        run: Callable[[Sequence[torch.Tensor]], Mapping[str, torch.Tensor]],
        inputs: Sequence[TensorSpec],
        device: torch.device,
    ) -> None:
        torch = require("torch", install=install_command("torch"), purpose="the pytorch_fp16 runtime")
        hosts = [torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype), pin_memory=True) for spec in inputs]
        tensors = [torch.zeros_like(host, device=device) for host in hosts]

        def upload() -> None:
            for host, tensor in zip(hosts, tensors, strict=True):
                tensor.copy_(host, non_blocking=True)

        floating = [tensor for tensor in tensors if tensor.is_floating_point()]
        side = torch.cuda.Stream(device)

        def work() -> dict[str, Any]:
            main = torch.cuda.current_stream(device)
            side.wait_stream(main)
            with torch.cuda.stream(side):
                largest = torch.stack([torch.linalg.vector_norm(tensor, torch.inf) for tensor in floating])
            outputs = run(tensors)
            main.wait_stream(side)
            return {**outputs, _LARGEST: largest}

        self._recording = GraphRecording(work, torch.cuda.Stream(device), upload=upload)
        self._buffers = (hosts, tensors)  # the graph holds their addresses only
        self._inputs = {spec.name: host.numpy() for spec, host in zip(inputs, hosts, strict=True)}

    def replay(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """Run the network on arrays of the declared shapes and dtypes; returns copies when the device is done.

        Raises:
            InferenceError: an input has NaN or Inf, which the device has found.
        """
        for name, buffer in self._inputs.items():
            np.copyto(buffer, inputs[name])
        outputs = self._recording.replay()
        if not np.isfinite(outputs.pop(_LARGEST)).all():
            names = [name for name, values in inputs.items() if not np.isfinite(values).all()]
            raise InferenceError(f"{' and '.join(names)}: values that are NaN or Inf; drop the frame")
        return outputs
