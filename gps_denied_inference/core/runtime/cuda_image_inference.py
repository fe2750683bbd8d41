"""A recorded network that takes decoded images: upload, resize, normalisation, network and copy back on one stream."""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.architectures.install_commands import install_command
from gps_denied_inference.core.contracts import PreprocessSpec
from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.imaging import Preprocessor
from gps_denied_inference.core.optional import require
from gps_denied_inference.core.runtime.device_preparation import DevicePreparation
from gps_denied_inference.core.runtime.graph_recording import GraphRecording
from gps_denied_inference.core.runtime.image_upload import ImageUpload
from gps_denied_inference.core.runtime.recording_thread import on_recording_thread

if TYPE_CHECKING:
    import torch

__all__ = ["CudaImageInference"]

_LOGGER = logging.getLogger("gps_denied_inference.runtime")

_SIZES = 2
"""Image sizes whose graphs are kept; a camera has one, and may change it."""

_ANY_SIZE = 512

_GREY_LEVELS = 1.5
"""How far the prepared image may be from the one of the CPU, where both round: one level, and floating point."""


class _Replayed(Protocol):
    def replay(self) -> dict[str, NDArray[np.float32]]: ...


Recorder = Callable[[Callable[[], Mapping[str, Any]], Any], _Replayed]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A recording, and what it reads: a graph holds addresses only."""

    upload: ImageUpload
    prepare: DevicePreparation
    recording: _Replayed


class CudaImageInference:
    """Records one graph for each size of images, at the first image of that size. Use from one thread at a time.

    The first image of a size is prepared on the CPU, too, and compared; where the two differ, or where the recording
    fails, images of that size are refused with a warning in the log, and prepared on the CPU from then on.

    Args:
        name: of the network, for the log.
        run: the network on prepared device tensors; returns its outputs by name.
        spec: how images are prepared.
        device: of the network.
        exclusive: held while a graph is recorded.
        recorder: makes the graph of a function; another one in tests.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[Sequence[torch.Tensor]], Mapping[str, torch.Tensor]],
        spec: PreprocessSpec,
        device: torch.device,
        *,
        exclusive: Any,
        recorder: Recorder = GraphRecording,
    ) -> None:
        self._torch = require("torch", install=install_command("torch"), purpose="the pytorch_fp16 runtime")
        self._name = name
        self._run = run
        self._spec = spec
        self._device = device
        self._exclusive = exclusive
        self._recorder = recorder
        self._stream: Any = self._torch.cuda.Stream(device) if device.type == "cuda" else None
        self._graphs: OrderedDict[tuple[tuple[int, ...], bool], _Prepared | None] = OrderedDict()

    def infer_image(self, image_hwc: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]] | None:
        """See `ImageInference.infer_image`."""
        layout = image_hwc.shape, image_hwc.strides[2] < 0
        if layout not in self._graphs:
            self._graphs[layout] = on_recording_thread(partial(self._record, image_hwc))
            while len(self._graphs) > _SIZES:
                self._graphs.popitem(last=False)
        graph = self._graphs[layout]
        if graph is None:
            return None
        with graph.upload.lock, self._on_stream():
            graph.upload.upload(image_hwc)
            return graph.recording.replay()

    def warm_up(self) -> None:
        """See `ImageInference.warm_up`: an engine that replaces another in flight costs no frame.

        The first engine does not know the camera's size. Recording any size loads the kernels: the camera's first image
        then waits 24 ms instead of 75 (EfficientNet-Lite0, an H100).
        """
        channels = self._spec.color.channels
        layouts = [layout for layout in ImageUpload.in_use(self._device) if layout[0][2] == channels]
        for shape, is_reversed in layouts or [((_ANY_SIZE, _ANY_SIZE, channels), False)]:
            blank = np.zeros(shape, np.uint8)
            image_hwc = blank[:, :, ::-1] if is_reversed else blank
            graph = on_recording_thread(partial(self._record, image_hwc))
            if layouts:
                self._graphs[shape, is_reversed] = graph

    def _on_stream(self) -> Any:
        return contextlib.nullcontext() if self._stream is None else self._torch.cuda.stream(self._stream)

    def _record(self, image_hwc: NDArray[np.uint8]) -> _Prepared | None:
        height, width = image_hwc.shape[:2]
        try:
            upload = ImageUpload.of(self._device, image_hwc.shape)
            is_reversed = image_hwc.strides[2] < 0
            prepare = DevicePreparation(self._spec, height, width, self._device, is_reversed=is_reversed)
            with self._exclusive, self._torch.inference_mode():
                # Not longer: meanwhile another engine may work on its images. Recording reads what happens to be there.
                with upload.lock, self._on_stream():
                    upload.upload(image_hwc)
                    self._check(prepare(upload.tensor), image_hwc)
                recording = self._recorder(lambda: self._run([prepare(upload.tensor)]), self._stream)
        except (RuntimeError, InferenceError) as error:  # torch's own are RuntimeErrors, exhausted memory too
            traceback.clear_frames(error.__traceback__)
            reason = (str(error).splitlines() or [""])[0]
            _LOGGER.warning(
                "%s: images of %dx%d are prepared on the CPU, not on the device: %s", self._name, width, height, reason
            )
            return None
        return _Prepared(upload, prepare, recording)

    def _check(self, prepared: torch.Tensor, image_hwc: NDArray[np.uint8]) -> None:
        expected, _ = Preprocessor(self._spec).prepare(np.ascontiguousarray(image_hwc))
        scale = np.array(self._spec.std, np.float32)[np.newaxis, :, np.newaxis, np.newaxis]
        error = float(np.abs((prepared.cpu().numpy() - expected) * scale).max())
        if not error <= _GREY_LEVELS:
            raise InferenceError(f"the device prepares them {error:.1f} grey levels away from the CPU")
