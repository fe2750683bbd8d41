"""A network on its device, ready to run."""

from __future__ import annotations

import contextlib
import gc
import traceback
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.architectures import ArchitectureEntry
from gps_denied_inference.core.architectures.install_commands import install_command
from gps_denied_inference.core.contracts import EffectiveConfiguration, PrecisionMode
from gps_denied_inference.core.errors import GpsDeniedInferenceError, InferenceError, OutOfMemoryError
from gps_denied_inference.core.optional import require
from gps_denied_inference.core.runtime.torch_checkpoint import load_published
from gps_denied_inference.core.runtime.torch_outputs import arrays_from_tensors, named_tensors

if TYPE_CHECKING:
    import torch

__all__ = ["TorchNetwork", "backend_errors", "give_back_memory"]

_WARM_UP_PASSES = 3  # the first allocates and picks algorithms, the second still grows the allocator's pools


class TorchNetwork:
    """A network in evaluation mode on its device.

    Args:
        architecture: what to build.
        state_dict: the checkpoint as it was published; loaded strictly after the architecture's conversion.
        configuration: device and precision.
    """

    def __init__(
        self,
        architecture: ArchitectureEntry,
        state_dict: Mapping[str, torch.Tensor],
        configuration: EffectiveConfiguration,
    ) -> None:
        self._torch = require("torch", install=install_command("torch"), purpose="the pytorch_fp16 runtime")
        self._spec = architecture.spec
        self._device = self._torch.device(configuration.effective_device)
        is_half = configuration.effective_precision is PrecisionMode.FP16
        self._dtype = self._torch.float16 if is_half else self._torch.float32
        module = architecture.build()
        load_published(module, architecture, state_dict)
        module.eval().requires_grad_(False)
        # Channels-last: 16 instead of 20 ms for a MobileNetV2-like network at 224² on one CPU thread.
        self._memory_format = (
            self._torch.channels_last
            if all(parameter.dim() != 5 for parameter in module.parameters())
            else self._torch.preserve_format
        )
        self._module = module.to(device=self._device, dtype=self._dtype, memory_format=self._memory_format)

    def warm_up(self) -> None:
        """Run the network on blank inputs of the declared shapes."""
        blank = {spec.name: np.zeros(spec.shape, dtype=spec.dtype) for spec in self._spec.inputs}
        for _ in range(_WARM_UP_PASSES):
            self.forward(blank)

    def forward(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """Run the network; inputs are passed in the order of the specification. Returns when the device is done."""
        with self._torch.inference_mode(), self._deterministic():
            tensors = [self._tensor_from_array(inputs[spec.name]) for spec in self._spec.inputs]
            outputs = named_tensors(self._module(*tensors), self._spec.output_names)
            arrays = arrays_from_tensors(outputs)
        if self._device.type == "cuda":
            self._torch.cuda.synchronize(self._device)
        return arrays

    def _tensor_from_array(self, values: NDArray[Any]) -> torch.Tensor:
        tensor = self._torch.tensor(values)  # a copy: the array may be read-only, and stays the caller's
        dtype = self._dtype if tensor.is_floating_point() else tensor.dtype
        memory_format = self._memory_format if tensor.dim() == 4 else self._torch.preserve_format
        placed: torch.Tensor = tensor.to(device=self._device, dtype=dtype, memory_format=memory_format)
        return placed

    def _deterministic(self) -> contextlib.AbstractContextManager[Any]:
        """The same input gives the same output: no timing-dependent choice of algorithm, and FP32 is FP32, not TF32."""
        if self._device.type != "cuda":
            return contextlib.nullcontext()
        flags: contextlib.AbstractContextManager[Any] = self._torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        )
        return flags


@contextlib.contextmanager
def backend_errors(doing: str, error_type: type[GpsDeniedInferenceError] = InferenceError) -> Iterator[None]:
    """Turn what torch raises into our family, and let go of the tensors that the failed frames hold.

    Args:
        doing: what was tried, for messages.
        error_type: for everything but exhausted memory.
    """
    try:
        yield
    except InferenceError as error:
        if error_type is InferenceError:
            raise
        raise error_type(f"{doing} failed: {error}") from error  # a network that does not fit its specification
    except GpsDeniedInferenceError:
        raise
    except Exception as error:  # torch and the network raise anything; the contract lets only our family out
        # The chained exception outlives this call; its frames would keep the tensors that filled the memory.
        traceback.clear_frames(error.__traceback__)
        if _is_out_of_memory(error):
            give_back_memory()
            raise OutOfMemoryError(
                f"out of memory while {doing}: {_first_line(error)}. Release other engines or take a smaller network; "
                "the runtime stays usable"
            ) from error
        raise error_type(f"torch failed while {doing} ({type(error).__name__}: {_first_line(error)})") from error


def give_back_memory() -> None:
    """Return the memory of dropped tensors to the device."""
    torch = require("torch", install=install_command("torch"), purpose="the pytorch_fp16 runtime")
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _is_out_of_memory(error: Exception) -> bool:
    torch = require("torch", install=install_command("torch"), purpose="the pytorch_fp16 runtime")
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    # The CPU allocator, cuBLAS and cuDNN report exhaustion as plain RuntimeErrors.
    message = str(error)
    return isinstance(error, RuntimeError) and any(
        mark in message for mark in ("DefaultCPUAllocator", "not enough memory", "CUDA out of memory", "ALLOC_FAILED")
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
