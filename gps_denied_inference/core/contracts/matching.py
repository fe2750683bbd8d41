"""What connects two images: pairs of features, or pairs of points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts.features import LocalFeatures

__all__ = ["Correspondences", "Matches", "SentFeatures"]


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Pairs of rows of two sets of local features, best score first. Each row occurs at most once.

    Attributes:
        indices: int32, shape (M, 2), row of the first set and row of the second.
        scores: float32, shape (M,), descending; a probability for networks, a cosine for nearest neighbours.
    """

    indices: NDArray[np.int32]
    scores: NDArray[np.float32]

    @property
    def count(self) -> int:
        return int(self.indices.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class Correspondences:
    """Pairs of points in two images, best score first.

    Attributes:
        first_px, second_px: float32, shape (M, 2), (x, y) in pixels of the original images, pixel centres at integers.
        scores: float32, shape (M,), descending.
    """

    first_px: NDArray[np.float32]
    second_px: NDArray[np.float32]
    scores: NDArray[np.float32]

    @property
    def count(self) -> int:
        return int(self.scores.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class SentFeatures:
    """Local features that came from elsewhere, and what they may be compared with.

    Attributes:
        stamp_ns, frame_id: of the image, verbatim.
        space_id: of the descriptors.
        features: of the image.
    """

    stamp_ns: int
    frame_id: str
    space_id: str
    features: LocalFeatures
