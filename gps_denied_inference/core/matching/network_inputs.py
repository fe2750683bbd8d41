"""Inputs of networks that match: padded sets of features, or two images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import ArchitectureSpec, LocalFeatures, OutputKind
from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.imaging import PixelTransform, Preprocessor

__all__ = ["CorrespondenceInputs", "correspondence_inputs", "feature_matcher_inputs"]


@dataclass(frozen=True, slots=True, eq=False)
class CorrespondenceInputs:
    """Two images as a network takes them.

    Attributes:
        arrays: by input name.
        transforms: of the first and the second image, to bring points back.
    """

    arrays: dict[str, NDArray[np.float32]]
    transforms: tuple[PixelTransform, PixelTransform]


def feature_matcher_inputs(
    first: LocalFeatures, second: LocalFeatures, spec: ArchitectureSpec
) -> dict[str, NDArray[np.float32]]:
    """Pad two sets of features to the rows that the network takes; of longer ones the best are kept.

    Args:
        first, second: best first.
        spec: of a network that gives `OutputKind.MATCHES`.

    Raises:
        InferenceError: the network is of another kind, or its descriptors have another dimension.
    """
    if spec.output_kind is not OutputKind.MATCHES:
        raise InferenceError(f"the network gives {spec.output_kind.value}; expected one that matches features")
    inputs: dict[str, NDArray[np.float32]] = {}
    for side, features in enumerate((first, second)):
        if features.dimension != spec.descriptor_dimension:
            raise InferenceError(
                f"the {('first', 'second')[side]} descriptors have {features.dimension} dimensions; the network takes "
                f"{spec.descriptor_dimension}: it matches the features of another network"
            )
        rows = spec.max_keypoints
        count = min(features.count, rows)
        keypoints = np.zeros((1, rows, 2), np.float32)
        scores = np.zeros((1, rows), np.float32)
        descriptors = np.zeros((1, rows, features.dimension), np.float32)
        keypoints[0, :count] = _centred(features)[:count]
        # What the scores say beyond their sign is not used; 1 also stands for a score that FP16 would round to zero.
        scores[0, :count] = 1.0
        descriptors[0, :count] = features.descriptors[:count]
        inputs |= {f"keypoints{side}": keypoints, f"scores{side}": scores, f"descriptors{side}": descriptors}
    return inputs


def correspondence_inputs(
    first_hwc: NDArray[np.uint8], second_hwc: NDArray[np.uint8], spec: ArchitectureSpec
) -> CorrespondenceInputs:
    """Preprocess two images.

    Args:
        first_hwc, second_hwc: uint8, (H, W, C) with the channels that the network takes.
        spec: of a network that gives `OutputKind.CORRESPONDENCES`.

    Raises:
        InferenceError: the network is of another kind.
    """
    if spec.output_kind is not OutputKind.CORRESPONDENCES:
        raise InferenceError(f"the network gives {spec.output_kind.value}; expected one that takes two images")
    # One preprocessor each: it reuses the memory of its result.
    first, first_transform = Preprocessor(spec.preprocess).prepare(first_hwc)
    second, second_transform = Preprocessor(spec.preprocess).prepare(second_hwc)
    arrays = {spec.inputs[0].name: first, spec.inputs[1].name: second}
    return CorrespondenceInputs(arrays, (first_transform, second_transform))


def _centred(features: LocalFeatures) -> NDArray[np.float32]:
    """Keypoints from the centre of their image, in halves of its longer side.

    The division by two instead of (size - 1) / 2 is that of LightGlue's authors, whose weights have learnt it.
    """
    size = np.array([features.image_width, features.image_height], np.float32)
    centred: NDArray[np.float32] = (features.keypoints_px - size / 2) / (size.max() / 2)
    return centred
