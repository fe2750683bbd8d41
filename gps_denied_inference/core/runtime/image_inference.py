"""What a runtime may offer beside its contract: to take decoded images and prepare them on the device."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import EngineHandle, PreprocessSpec

__all__ = ["ImageInference", "TakesImages"]


class ImageInference(Protocol):
    """One engine that takes images."""

    def warm_up(self) -> None:
        """Make ready for images of the sizes that other engines of this process take now; see `infer_image`."""
        ...

    def infer_image(self, image_hwc: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]] | None:
        """Prepare an image on the device and run one forward pass. Returns after the device has finished.

        Args:
            image_hwc: uint8, shape (H, W, C), as `imaging.decode` returns it; not changed. The same array object counts
                as the same image.

        Returns:
            As `InferenceRuntime.infer`. None when images of this size cannot be taken: prepare them on the CPU.

        Raises:
            InferenceError, OutOfMemoryError: as `InferenceRuntime.infer`.
        """
        ...


@runtime_checkable
class TakesImages(Protocol):
    """A runtime with engines that take images."""

    def image_inference(self, handle: EngineHandle, spec: PreprocessSpec) -> ImageInference | None:
        """Return what takes images for this engine; None when the engine cannot.

        Args:
            handle: from `deserialize_engine` of this object.
            spec: how images are prepared.
        """
        ...
