"""Outputs of networks that match, checked and brought to pixels of the original images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import ArchitectureSpec, Correspondences, LocalFeatures, Matches
from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.features.finite import require_finite
from gps_denied_inference.core.imaging import PixelTransform

__all__ = ["correspondences_from_outputs", "matches_from_outputs"]


def matches_from_outputs(
    outputs: Mapping[str, NDArray[Any]], spec: ArchitectureSpec, first: LocalFeatures, second: LocalFeatures
) -> Matches:
    """Read the outputs of a network that matches features.

    Args:
        outputs: `matches` (1, K), row of the second set for each row of the first, -1 for none; `scores` (1, K).
        spec: of the network.
        first, second: what the inputs were made of.

    Raises:
        NonFiniteOutputError: NaN or Inf.
        InferenceError: an output is missing or has another shape, or names a row that does not exist.
    """
    rows = (1, spec.max_keypoints)
    matches, scores = (_output(outputs, name, rows)[0] for name in ("matches", "scores"))
    kept = np.flatnonzero((matches >= 0) & (scores > 0))
    partner = np.rint(matches[kept]).astype(np.int64)
    if kept.size and (kept.max() >= first.count or partner.max() >= second.count):
        raise InferenceError(
            f"the network matched row {kept.max()} to row {partner.max()}, of {first.count} and {second.count} "
            "features: padding was matched; the engine was built from another network"
        )
    order = np.argsort(-scores[kept], kind="stable")
    indices = np.stack((kept, partner), axis=1)[order]
    return Matches(indices.astype(np.int32), scores[kept][order].astype(np.float32))


def correspondences_from_outputs(
    outputs: Mapping[str, NDArray[Any]],
    spec: ArchitectureSpec,
    transforms: tuple[PixelTransform, PixelTransform],
) -> Correspondences:
    """Read the outputs of a network that takes two images.

    Args:
        outputs: `points0`, `points1` (1, K, 2), (x, y) in pixels of the network's input, centres at integers;
            `scores` (1, K), rows with a score of 0 or less are padding.
        spec: of the network.
        transforms: of the two images.

    Raises:
        NonFiniteOutputError: NaN or Inf in a score, or in the points of a row that is not padding.
        InferenceError: an output is missing or has another shape.
    """
    count = spec.max_keypoints
    scores = _output(outputs, "scores", (1, count))[0]
    kept = np.flatnonzero(scores > 0)
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    points = []
    for side, transform in enumerate(transforms):
        rows = _output(outputs, f"points{side}", (1, count, 2), finite=False)[0, kept]
        require_finite(f"points{side}", rows)
        points.append(transform.original_from_network(rows).astype(np.float32))
    return Correspondences(points[0], points[1], scores[kept].astype(np.float32))


def _output(
    outputs: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...], *, finite: bool = True
) -> NDArray[Any]:
    if name not in outputs:
        raise InferenceError(f"output '{name}' is missing; the network returned {', '.join(outputs) or 'nothing'}")
    values = outputs[name]
    if values.shape != shape:
        raise InferenceError(f"output '{name}' has the shape {values.shape}; expected {shape}")
    if finite:
        require_finite(name, values)
    return values
