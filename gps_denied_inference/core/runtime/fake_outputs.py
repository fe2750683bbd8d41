"""What the fake runtime returns: a fixed function of the pixels, in the shapes of a registered architecture.

Similar images get similar descriptors, so that everything behind the runtime sees plausible values.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import ArchitectureSpec, OutputKind

__all__ = ["outputs_from_inputs"]

_THUMBNAIL = 16
_CELL = 8


def outputs_from_inputs(spec: ArchitectureSpec, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    """Compute the outputs that `spec` names from its first input, (1, C, H, W), or match two sets of features.

    Two images have no correspondences here: every row is padding.
    """
    if spec.output_kind is OutputKind.MATCHES:
        return _match(inputs)
    if spec.output_kind is OutputKind.CORRESPONDENCES:
        rows = spec.max_keypoints
        points = {f"points{side}": np.zeros((1, rows, 2), np.float32) for side in (0, 1)}
        return {**points, "scores": np.zeros((1, rows), np.float32)}
    image = inputs[spec.inputs[0].name][0].astype(np.float64)
    weights = np.arange(1.0, image.shape[0] + 1.0)  # unequal, so that swapped channels show
    gray = np.tensordot(weights / weights.sum(), image, axes=1)
    if spec.output_kind is OutputKind.GLOBAL_DESCRIPTOR:
        return {spec.output_names[0]: _describe(_thumbnail(gray)[np.newaxis], spec.descriptor_dimension)}
    keypoints, scores, descriptors = _detect(gray, spec)
    return {"keypoints": keypoints, "scores": scores, "descriptors": descriptors}


def _match(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    """Mutual nearest neighbours of the descriptors."""
    similarity = (inputs["descriptors0"][0] @ inputs["descriptors1"][0].T).astype(np.float64)
    is_feature = [inputs[f"scores{side}"][0] > 0 for side in (0, 1)]
    similarity[~is_feature[0]] = -2.0
    similarity[:, ~is_feature[1]] = -2.0
    partner = similarity.argmax(axis=1)
    rows = np.arange(len(partner))
    best = similarity[rows, partner]
    is_match = (similarity.argmax(axis=0)[partner] == rows) & (best > -2.0)
    return {
        "matches": np.where(is_match, partner, -1).astype(np.float32)[np.newaxis],
        "scores": np.where(is_match, 0.5 + best / 2, 0.0).clip(0.0, 1.0).astype(np.float32)[np.newaxis],
    }


def _thumbnail(gray: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of a 16×16 grid, flattened; every pixel counts."""
    rows = np.array_split(np.arange(gray.shape[0]), min(_THUMBNAIL, gray.shape[0]))
    columns = np.array_split(np.arange(gray.shape[1]), min(_THUMBNAIL, gray.shape[1]))
    by_row = np.stack([gray[group].mean(axis=0) for group in rows])
    return np.stack([by_row[:, group].mean(axis=1) for group in columns], axis=1).ravel()


def _detect(
    gray: NDArray[np.float64], spec: ArchitectureSpec
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """The brightest pixel of each 8×8 cell, ranked by the cell's contrast; rows left over are zero."""
    height, width = gray.shape[0] // _CELL * _CELL, gray.shape[1] // _CELL * _CELL
    blocks = gray[:height, :width].reshape(height // _CELL, _CELL, width // _CELL, _CELL)
    cells = blocks.transpose(0, 2, 1, 3).reshape(-1, _CELL * _CELL)
    contrast = cells.max(axis=1) - cells.min(axis=1)
    order = np.argsort(-contrast, kind="stable")[: spec.max_keypoints]
    brightest = cells[order].argmax(axis=1)
    columns_of_cells = width // _CELL
    x = order % columns_of_cells * _CELL + brightest % _CELL
    y = order // columns_of_cells * _CELL + brightest // _CELL
    count = len(order)
    keypoints = np.zeros((1, spec.max_keypoints, 2), np.float32)
    scores = np.zeros((1, spec.max_keypoints), np.float32)
    descriptors = np.zeros((1, spec.max_keypoints, spec.descriptor_dimension), np.float32)
    keypoints[0, :count] = np.stack((x, y), axis=1)
    # Above 0 even for a blank image: 0 would mark padding.
    scores[0, :count] = 0.5 + 0.5 * contrast[order] / (1.0 + contrast[order])
    descriptors[0, :count] = _describe(cells[order], spec.descriptor_dimension)
    return keypoints, scores, descriptors


def _describe(patches: NDArray[np.float64], dimension: int) -> NDArray[np.float32]:
    """Project rows to unit vectors; a constant offset keeps a black image away from the zero vector."""
    projection, offset = _projection(patches.shape[1], dimension)
    projected = patches @ projection + offset
    unit = projected / np.linalg.norm(projected, axis=1, keepdims=True)
    return np.ascontiguousarray(unit, dtype=np.float32)


@lru_cache(maxsize=16)
def _projection(length: int, dimension: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    random = np.random.default_rng(0)
    return random.standard_normal((length, dimension)), random.standard_normal(dimension)
