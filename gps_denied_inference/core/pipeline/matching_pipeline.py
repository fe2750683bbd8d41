"""The way of two images, or of their features, through a network that matches them."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import (
    Correspondences,
    EngineHandle,
    Frame,
    LocalFeatures,
    Matches,
    RuntimeLabel,
)
from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.imaging import decode
from gps_denied_inference.core.matching import (
    correspondence_inputs,
    correspondences_from_outputs,
    feature_matcher_inputs,
    matches_from_outputs,
)
from gps_denied_inference.core.pipeline.identity import ModelIdentity
from gps_denied_inference.core.runtime import InferenceRuntime

__all__ = ["MatchingPipeline"]


class MatchingPipeline:
    """A loaded network that matches. Use from one thread at a time; a context manager.

    Args:
        runtime: the runtime that holds `handle`; the pipeline releases the handle when it is closed.
        handle: a loaded engine.
        model: what it is; its `spec.output_kind` says which of the two methods it has.
        on_close: called once, after the engine was released.
    """

    def __init__(
        self,
        runtime: InferenceRuntime,
        handle: EngineHandle,
        model: ModelIdentity,
        *,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.model = model
        self._runtime = runtime
        self._handle = handle
        self._on_close = on_close
        self._is_closed = False

    def warm_up_thread(self) -> None:
        """Run the network once on zeros, on the thread that will match; see `Pipeline.warm_up_thread`.

        Raises:
            InferenceError: the pipeline is closed, or the runtime failed.
            OutOfMemoryError: the device is out of memory.
        """
        self._require_open()
        if self.model.runtime_label is RuntimeLabel.FAKE:
            return
        self._runtime.infer(
            self._handle, {item.name: np.zeros(item.shape, item.dtype) for item in self.model.spec.inputs}
        )

    def match_features(self, first: LocalFeatures, second: LocalFeatures) -> Matches:
        """Pair the features of two images; beyond the rows that the network takes only the best are looked at.

        Raises:
            InferenceError: the network matches images, the features are another network's, the pipeline is closed, or
                the runtime failed.
            NonFiniteOutputError: the network returned NaN or Inf.
            OutOfMemoryError: the device is out of memory.
        """
        self._require_open()
        inputs = feature_matcher_inputs(first, second, self.model.spec)
        outputs = self._runtime.infer(self._handle, inputs)
        return matches_from_outputs(outputs, self.model.spec, first, second)

    def match_images(self, first: Frame, second: Frame) -> Correspondences:
        """Pair points of two images.

        Args:
            first, second: read during the call only.

        Raises:
            ImageDecodeError: a frame is not what its header claims, or of an unknown encoding.
            InferenceError: the network matches features, the pipeline is closed, or the runtime failed.
            NonFiniteOutputError: the network returned NaN or Inf.
            OutOfMemoryError: the device is out of memory.
        """
        color = self.model.spec.preprocess.color
        return self.match_decoded(decode(first, color), decode(second, color))

    def match_decoded(self, first_hwc: NDArray[np.uint8], second_hwc: NDArray[np.uint8]) -> Correspondences:
        """Pair points of two images that were decoded before, with the channels of the network.

        Args:
            first_hwc, second_hwc: uint8, shape (H, W, C).

        Raises:
            InferenceError: as `match_images`.
            NonFiniteOutputError, OutOfMemoryError: likewise.
        """
        self._require_open()
        spec = self.model.spec
        inputs = correspondence_inputs(first_hwc, second_hwc, spec)
        outputs = self._runtime.infer(self._handle, inputs.arrays)
        return correspondences_from_outputs(outputs, spec, inputs.transforms)

    def close(self) -> None:
        """Release the engine and its memory. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self._runtime.release_engine(self._handle)
            self._on_close()

    def _require_open(self) -> None:
        if self._is_closed:
            raise InferenceError("this matcher is closed and its engine released; assemble a new one")

    def __enter__(self) -> MatchingPipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
