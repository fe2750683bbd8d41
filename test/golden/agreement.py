"""How well a network's outputs agree with the golden ones: measures, not verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from test.golden.inputs import FOLDER

__all__ = ["DescriptorAgreement", "KeypointAgreement", "compare_descriptor", "compare_keypoints"]


@dataclass(frozen=True, slots=True)
class DescriptorAgreement:
    """Of a global descriptor with its golden one."""

    cosine: float
    max_error: float


@dataclass(frozen=True, slots=True)
class KeypointAgreement:
    """Of local features with their golden ones.

    Attributes:
        repeated: share of the golden keypoints that are found at the same pixel.
        mean_cosine, min_cosine: of the descriptors kept at the repeated keypoints.
        max_score_error: at the repeated keypoints.
    """

    repeated: float
    mean_cosine: float
    min_cosine: float
    max_score_error: float


def compare_descriptor(values: NDArray[np.float32], key: str) -> DescriptorAgreement:
    """Compare a descriptor (448,) with the golden one of this input."""
    with np.load(FOLDER / "efficientnet_lite0_grid.npz") as golden:
        expected = golden[key]
    cosine = float(values @ expected / (np.linalg.norm(values) * np.linalg.norm(expected)))
    return DescriptorAgreement(cosine, float(np.abs(values - expected).max()))


def compare_keypoints(outputs: Mapping[str, NDArray[np.float32]], key: str) -> KeypointAgreement:
    """Compare the outputs of XFeat with the golden ones of this input."""
    with np.load(FOLDER / "xfeat.npz") as golden:
        keypoints, scores = golden[f"{key}_keypoints"], golden[f"{key}_scores"]
        descriptors = golden[f"{key}_descriptors"]
    is_keypoint = outputs["scores"][0] > 0
    row_of = {(int(x), int(y)): row for row, (x, y) in enumerate(outputs["keypoints"][0]) if is_keypoint[row]}
    pairs = [(row, row_of[int(x), int(y)]) for row, (x, y) in enumerate(keypoints) if (int(x), int(y)) in row_of]
    described = [(row, own) for row, own in pairs if row < len(descriptors)]
    cosines = [float(descriptors[row] @ outputs["descriptors"][0, own]) for row, own in described]
    errors = [abs(float(scores[row] - outputs["scores"][0, own])) for row, own in pairs]
    return KeypointAgreement(len(pairs) / len(keypoints), float(np.mean(cosines)), min(cosines), max(errors))
