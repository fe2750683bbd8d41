"""The way of one frame: decode → preprocess → infer → postprocess, each stage timed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import (
    ColorSpace,
    EngineHandle,
    Features,
    Frame,
    ImageFrame,
    OutputKind,
    RuntimeLabel,
    StageTimings,
    ThermalState,
)
from gps_denied_inference.core.errors import InferenceError, RuntimeNotAvailableError
from gps_denied_inference.core.features import global_descriptor_from_output, local_features_from_outputs
from gps_denied_inference.core.imaging import Decoder, Preprocessor, decode, resize_geometry
from gps_denied_inference.core.pipeline.identity import ModelIdentity
from gps_denied_inference.core.runtime import ImageInference, InferenceRuntime, TakesImages

__all__ = ["Pipeline", "PipelineResult"]


@dataclass(frozen=True, slots=True, eq=False)
class PipelineResult:
    """What came of one frame.

    Attributes:
        stamp_ns, frame_id: the frame's own, verbatim.
        features: global descriptor or local features, owned by this object.
        timings: of this frame.
        model: the network that made it; another one from frame to frame when the engine is replaced.
    """

    stamp_ns: int
    frame_id: str
    features: Features
    timings: StageTimings
    model: ModelIdentity


class Pipeline:
    """A loaded network with everything around it. Use from one thread at a time; a context manager.

    Args:
        runtime: the runtime that holds `handle`; the pipeline releases the handle when it is closed.
        handle: a loaded engine.
        model: what it is.
        top_k: most keypoints to keep; 0 keeps all that the network returns.
        decoder: shared by pipelines that work on the same frames.
        clock: steady clock, nanoseconds.
        on_close: called once, after the engine was released.
    """

    def __init__(
        self,
        runtime: InferenceRuntime,
        handle: EngineHandle,
        model: ModelIdentity,
        *,
        top_k: int = 0,
        decoder: Decoder = decode,
        clock: Callable[[], int] = time.monotonic_ns,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.model = model
        self._runtime = runtime
        self._handle = handle
        self._top_k = top_k or model.spec.max_keypoints
        self._decode = decoder
        self._clock = clock
        self._on_close = on_close
        self._preprocessor = Preprocessor(model.spec.preprocess)
        # Where the runtime prepares images on the device, that is part of `infer_ms`.
        self._images: ImageInference | None = (
            runtime.image_inference(handle, model.spec.preprocess) if isinstance(runtime, TakesImages) else None
        )
        self._input_name = model.spec.inputs[0].name
        self._is_closed = False

    def warm_up(self) -> None:
        """Decode and preprocess a blank image, so that the first frame does not pay for imports and first allocations.

        The runtime warmed the network itself when it loaded it.
        """
        size = 64
        data = np.zeros(size * size * 4, np.uint8)
        # OpenCV converts the colours of bgra8; without OpenCV its absence is said when a frame needs it.
        with contextlib.suppress(RuntimeNotAvailableError):
            image_hwc = decode(ImageFrame(0, "", "bgra8", size, size, size * 4, False, data), ColorSpace.RGB)
            if self.model.spec.preprocess.color is ColorSpace.GRAY:
                image_hwc = image_hwc[..., :1]
            self._preprocessor.prepare(image_hwc)
        if self._images is not None:
            self._images.warm_up()

    def warm_up_thread(self) -> None:
        """Run the network once on zeros, on the thread that will call `process`.

        Libraries keep their pools of threads per calling thread, and the runtime warmed the network on the thread that
        loaded it. The fake runtime is left out: its answers are scripted call by call.

        Raises:
            InferenceError: the pipeline is closed, or the runtime failed.
            OutOfMemoryError: the device is out of memory.
        """
        if self._is_closed:
            raise InferenceError("this pipeline is closed and its engine released; assemble a new one")
        if self.model.runtime_label is RuntimeLabel.FAKE:
            return
        self._runtime.infer(
            self._handle, {item.name: np.zeros(item.shape, item.dtype) for item in self.model.spec.inputs}
        )

    def process(self, frame: Frame, received_ns: int | None = None, *, top_k: int | None = None) -> PipelineResult:
        """Turn a frame into features.

        Args:
            frame: read during the call only.
            received_ns: steady clock of the frame's reception; now, when None.
            top_k: most keypoints to keep of this frame, instead of the pipeline's own number.

        Raises:
            ImageDecodeError: the frame is not what its header claims, or of an unknown encoding.
            NonFiniteOutputError: the network returned NaN or Inf.
            InferenceError: the pipeline is closed, or the runtime failed.
            OutOfMemoryError: the device is out of memory.
        """
        if self._is_closed:
            raise InferenceError("this pipeline is closed and its engine released; assemble a new one")
        start_ns = self._clock()
        spec = self.model.spec
        image_hwc = self._decode(frame, spec.preprocess.color)
        decoded_ns = self._clock()
        outputs: Mapping[str, NDArray[np.float32]] | None = None
        if self._images is not None:
            outputs = self._images.infer_image(image_hwc)
        prepared_ns = decoded_ns
        if outputs is None:
            batch_nchw, transform = self._preprocessor.prepare(image_hwc)
            prepared_ns = self._clock()
            outputs = self._runtime.infer(self._handle, {self._input_name: batch_nchw})
        else:
            transform = resize_geometry(image_hwc.shape[0], image_hwc.shape[1], spec.preprocess).pixel_transform
        inferred_ns = self._clock()
        features: Features
        if spec.output_kind is OutputKind.GLOBAL_DESCRIPTOR:
            features = global_descriptor_from_output(outputs[spec.output_names[0]], spec)
        else:
            height, width = image_hwc.shape[:2]
            features = local_features_from_outputs(
                outputs, spec, transform, image_height=height, image_width=width, top_k=top_k or self._top_k
            )
        finished_ns = self._clock()
        first_ns = start_ns if received_ns is None else received_ns
        timings = StageTimings(
            wait_ms=(start_ns - first_ns) / 1e6,
            decode_ms=(decoded_ns - start_ns) / 1e6,
            preprocess_ms=(prepared_ns - decoded_ns) / 1e6,
            infer_ms=(inferred_ns - prepared_ns) / 1e6,
            postprocess_ms=(finished_ns - inferred_ns) / 1e6,
            total_ms=(finished_ns - first_ns) / 1e6,
        )
        return PipelineResult(frame.stamp_ns, frame.frame_id, features, timings, self.model)

    def thermal_state(self) -> ThermalState:
        """Return what the runtime knows of the computer's temperature; never blocks."""
        return self._runtime.thermal_state()

    def close(self) -> None:
        """Release the engine and its memory. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self._images = None
            self._runtime.release_engine(self._handle)
            self._on_close()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
