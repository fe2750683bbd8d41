"""Keypoints, scores and descriptors of an image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import ArchitectureSpec, LocalFeatures
from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.features.finite import require_finite

__all__ = ["OriginalFromNetwork", "local_features_from_outputs"]


class OriginalFromNetwork(Protocol):
    """The part of the imaging room's `PixelTransform` that keypoints need."""

    def original_from_network(self, points_px: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map points (N, 2) of the network's input to the original image."""
        ...


def local_features_from_outputs(
    outputs: Mapping[str, NDArray[Any]],
    spec: ArchitectureSpec,
    transform: OriginalFromNetwork,
    *,
    image_height: int,
    image_width: int,
    top_k: int,
) -> LocalFeatures:
    """Keep the best keypoints, in pixels of the original image.

    Args:
        outputs: `keypoints` (1, K, 2), (x, y) in pixels of the network's input, centres at integers; `scores`
            (1, K), rows with a score of 0 or less are padding; `descriptors` (1, K, D).
        spec: of the architecture.
        transform: of this image, from the preprocessor.
        image_height, image_width: of the original image, pixels.
        top_k: most keypoints to return, at least 1.

    Returns:
        At most `top_k` keypoints, best first, equal scores in the network's order; float32 copies that the
        result owns. Keypoints in the letterbox border are left out. Descriptors have unit length where the
        architecture declares it.

    Raises:
        NonFiniteOutputError: NaN or Inf in any score, or in the keypoint or descriptor of a row that is not
            padding; or a zero descriptor where unit length is declared.
        InferenceError: an output is missing or has another shape, or `top_k` is below 1.
    """
    if top_k < 1:
        raise InferenceError(f"top_k is {top_k}; expected at least 1")
    keypoints, scores, descriptors = _rows(outputs, spec)
    # Scores decide which rows exist, so every one must be finite; the rest of a padding row may hold
    # anything.
    require_finite("scores", scores)
    kept = np.flatnonzero(scores > 0)
    require_finite("keypoints", keypoints[kept])
    require_finite("descriptors", descriptors[kept])
    points_px = transform.original_from_network(keypoints[kept])
    is_inside = (points_px >= -0.5).all(axis=1) & (points_px <= (image_width - 0.5, image_height - 0.5)).all(axis=1)
    kept, points_px = kept[is_inside], points_px[is_inside]
    order = np.argsort(-scores[kept].astype(np.float64), kind="stable")[:top_k]
    kept = kept[order]
    return LocalFeatures(
        keypoints_px=np.ascontiguousarray(points_px[order], np.float32),
        scores=scores[kept].astype(np.float32),
        descriptors=_descriptors(descriptors[kept], is_l2_normalized=spec.is_l2_normalized),
        image_height=image_height,
        image_width=image_width,
    )


def _rows(
    outputs: Mapping[str, NDArray[Any]], spec: ArchitectureSpec
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The three outputs without the batch axis, their shapes checked."""
    missing = [name for name in ("keypoints", "scores", "descriptors") if name not in outputs]
    if missing:
        raise InferenceError(
            f"outputs {', '.join(missing)} are missing; the network returned "
            f"{', '.join(outputs) or 'nothing'}; expected keypoints, scores and descriptors"
        )
    count = int(np.prod(outputs["scores"].shape))
    expected = {
        "keypoints": (1, count, 2),
        "scores": (1, count),
        "descriptors": (1, count, spec.descriptor_dimension),
    }
    for name, shape in expected.items():
        if outputs[name].shape != shape:
            raise InferenceError(f"output '{name}' has the shape {outputs[name].shape}; expected {shape}")
    return outputs["keypoints"][0], outputs["scores"][0], outputs["descriptors"][0]


def _descriptors(rows: NDArray[Any], *, is_l2_normalized: bool) -> NDArray[np.float32]:
    descriptors = np.array(rows, np.float32, order="C")
    if is_l2_normalized:
        # FP16 engines return lengths a few 1e-3 off one; consumers compare by dot product.
        lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            descriptors = (rows / lengths).astype(np.float32)
        require_finite("descriptors (scaled to unit length)", descriptors)
    return np.ascontiguousarray(descriptors)
