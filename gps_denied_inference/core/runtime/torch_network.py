"""A network on its device, ready to run."""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.architectures import ArchitectureEntry
from gps_denied_inference.core.architectures.install_commands import install_command
from gps_denied_inference.core.contracts import EffectiveConfiguration, PrecisionMode, PreprocessSpec, TensorSpec
from gps_denied_inference.core.errors import GpsDeniedInferenceError, InferenceError, OutOfMemoryError
from gps_denied_inference.core.optional import require
from gps_denied_inference.core.runtime.cuda_graph import CudaGraph
from gps_denied_inference.core.runtime.cuda_image_inference import CudaImageInference
from gps_denied_inference.core.runtime.recording_thread import on_recording_thread
from gps_denied_inference.core.runtime.torch_checkpoint import load_published
from gps_denied_inference.core.runtime.torch_outputs import arrays_from_tensors, named_tensors

if TYPE_CHECKING:
    import torch

__all__ = ["Recording", "TorchNetwork", "backend_errors", "give_back_memory"]

_LOGGER = logging.getLogger("gps_denied_inference.runtime")

_WARM_UP_PASSES = 3  # the first allocates and picks algorithms, the second still grows the allocator's pools

_REPLAY_TOLERANCE = 1e-3
"""Largest difference between a replay and the plain call, of the largest output; nought was measured."""


_CALL_BY_CALL = threading.RLock()
"""Held while a network is recorded, and for each call that launches kernels itself: they would disturb the recording.

Replays go on. An engine that runs call by call waits for half a second when another one is loaded in flight.
"""


class Recording(Protocol):
    """A network that was recorded: a `CudaGraph`, or a stand-in."""

    def replay(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]: ...


Recorder = Callable[
    ["Callable[[Sequence[torch.Tensor]], Mapping[str, torch.Tensor]]", Sequence[TensorSpec], "torch.device"], Recording
]


class TorchNetwork:
    """A network in evaluation mode on its device.

    On CUDA it is recorded as a graph when it is warmed up; one that cannot be, or whose replay differs, runs call by
    call, and the log says why.

    Args:
        architecture: what to build.
        state_dict: the checkpoint as it was published; loaded strictly after the architecture's conversion.
        configuration: device and precision.
        recorder: records the network; None: never. By default `CudaGraph` on CUDA.
    """

    def __init__(
        self,
        architecture: ArchitectureEntry,
        state_dict: Mapping[str, torch.Tensor],
        configuration: EffectiveConfiguration,
        *,
        recorder: Recorder | None = CudaGraph,
    ) -> None:
        self._name = architecture.name
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
        self._recorder = recorder if self._device.type == "cuda" or recorder is not CudaGraph else None
        self._recording: Recording | None = None
        self.recording_refusal = ""
        """Why the network runs call by call on a device that could replay it; empty where it is replayed."""

    @property
    def is_recorded(self) -> bool:
        return self._recording is not None

    def warm_up(self) -> None:
        """Run the network on blank inputs of the declared shapes, and record it where that can be done."""
        if self._recorder is None:
            self._pass_blanks()
        else:
            on_recording_thread(self._pass_and_record)

    def _pass_and_record(self) -> None:
        self._pass_blanks()
        if self._recorder is not None:
            self._record(self._recorder)

    def _pass_blanks(self) -> None:
        blank = {spec.name: np.zeros(spec.shape, dtype=spec.dtype) for spec in self._spec.inputs}
        for _ in range(_WARM_UP_PASSES):
            self.forward(blank)

    def forward(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """Run the network; inputs are passed in the order of the specification. Returns when the device is done."""
        if self._recording is not None:
            return self._recording.replay(inputs)
        return self._forward(inputs)

    def image_inference(self, spec: PreprocessSpec) -> CudaImageInference | None:
        """Return what takes images in place of prepared inputs; None where the network is not replayed from a graph."""
        if self._recording is None or self._device.type != "cuda":
            return None
        return CudaImageInference(self._name, self._run, spec, self._device, exclusive=_CALL_BY_CALL)

    @property
    def way(self) -> str:
        """How it runs on its device, for the reports; empty where there is one way only."""
        if self._recorder is None:
            return ""
        return "CUDA graph" if self._recording is not None else f"no CUDA graph: {self.recording_refusal}"

    def _forward(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        # Copies: the arrays may be read-only, and stay the caller's.
        tensors = [self._torch.tensor(inputs[spec.name]) for spec in self._spec.inputs]
        if self._device.type != "cuda":
            with self._torch.inference_mode():
                return arrays_from_tensors(self._run(tensors))
        with _CALL_BY_CALL, self._torch.inference_mode():
            arrays = arrays_from_tensors(self._run(tensors))
            self._torch.cuda.synchronize(self._device)
        return arrays

    def _run(self, inputs: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        with self._torch.inference_mode(), self._deterministic():
            placed = [self._placed(tensor) for tensor in inputs]
            return named_tensors(self._module(*placed), self._spec.output_names)

    def _record(self, recorder: Recorder) -> None:
        try:
            with _CALL_BY_CALL:
                recording = recorder(self._run, self._spec.inputs, self._device)
                self._check(recording)
        except (RuntimeError, InferenceError) as error:  # torch's own are RuntimeErrors, exhausted memory too
            traceback.clear_frames(error.__traceback__)
            self.recording_refusal = _first_line(error)
            give_back_memory()
            _LOGGER.info("%s: not recorded as a CUDA graph, runs call by call: %s", self._name, self.recording_refusal)
            return
        self._recording = recording

    def _check(self, recording: Recording) -> None:
        """Compare a replay with the plain call, on noise."""
        generator = np.random.default_rng(0)
        noise = {
            spec.name: generator.standard_normal(spec.shape).astype(spec.dtype)  # of whole numbers: small ones
            for spec in self._spec.inputs
        }
        expected, replayed = self._forward(noise), recording.replay(noise)
        for name, values in expected.items():
            bound = _REPLAY_TOLERANCE * float(np.abs(values).max(initial=0.0))
            if replayed[name].shape != values.shape or not np.all(np.abs(replayed[name] - values) <= bound):
                raise InferenceError(f"a replay gives another '{name}' than the network")

    def _placed(self, tensor: torch.Tensor) -> torch.Tensor:
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
