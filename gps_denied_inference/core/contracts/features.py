"""What leaves the pipeline: global descriptors and local features."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

__all__ = ["Features", "GlobalDescriptor", "LocalFeatures", "OutputKind"]


class OutputKind(Enum):
    """What a network produces.

    `GLOBAL_DESCRIPTOR` and `LOCAL_FEATURES` take one image. `MATCHES` takes the local features of two images and gives
    pairs of their rows; `CORRESPONDENCES` takes two images and gives pairs of points. `core/matching` makes the inputs
    of the latter two and reads their outputs.
    """

    GLOBAL_DESCRIPTOR = "global_descriptor"
    LOCAL_FEATURES = "local_features"
    MATCHES = "matches"
    CORRESPONDENCES = "correspondences"

    @property
    def is_of_one_image(self) -> bool:
        """The network takes one image, as a camera delivers it."""
        return self in (OutputKind.GLOBAL_DESCRIPTOR, OutputKind.LOCAL_FEATURES)


@dataclass(frozen=True, slots=True, eq=False)
class GlobalDescriptor:
    """One vector for a whole image.

    Attributes:
        values: float32, shape (D,); L2-normalised when the architecture declares it. Owned by this object.
    """

    values: NDArray[np.float32]

    @property
    def dimension(self) -> int:
        return int(self.values.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class LocalFeatures:
    """Keypoints of an image, best score first.

    Attributes:
        keypoints_px: float32, shape (N, 2), (x, y) in pixels of the original image, pixel centres at integers.
        scores: float32, shape (N,), descending.
        descriptors: float32, shape (N, D).
        image_height, image_width: of the original image, pixels.
    """

    keypoints_px: NDArray[np.float32]
    scores: NDArray[np.float32]
    descriptors: NDArray[np.float32]
    image_height: int
    image_width: int

    @property
    def dimension(self) -> int:
        return int(self.descriptors.shape[1])

    @property
    def count(self) -> int:
        return int(self.keypoints_px.shape[0])


Features = GlobalDescriptor | LocalFeatures
