"""Mutual nearest neighbours: the matcher that needs no network."""

from __future__ import annotations

import numpy as np

from gps_denied_inference.core.contracts import LocalFeatures, Matches
from gps_denied_inference.core.errors import InferenceError

__all__ = ["match_mutual_nearest"]


def match_mutual_nearest(
    first: LocalFeatures, second: LocalFeatures, *, min_similarity: float = 0.0, max_ratio: float = 1.0
) -> Matches:
    """Pair features that are each other's most similar.

    Args:
        first, second: with descriptors of unit length, of the same network.
        min_similarity: smallest cosine of a pair.
        max_ratio: largest ratio of the distance to the nearest and to the second nearest, from the first set to the
            second (Lowe, IJCV 2004, section 7.1); 1 asks for nothing.

    Returns:
        The pairs, best first; their scores are cosines.

    Raises:
        InferenceError: the dimensions differ.
    """
    if first.dimension != second.dimension:
        raise InferenceError(
            f"descriptors have {first.dimension} and {second.dimension} dimensions; only features of the same network "
            "can be matched"
        )
    if first.count == 0 or second.count == 0:
        return Matches(np.empty((0, 2), np.int32), np.empty(0, np.float32))
    similarity = first.descriptors @ second.descriptors.T
    partner = similarity.argmax(axis=1)
    rows = np.arange(first.count)
    best = similarity[rows, partner]
    is_kept = (similarity.argmax(axis=0)[partner] == rows) & (best >= min_similarity)
    if max_ratio < 1.0 and second.count > 1:
        second_best = np.partition(similarity, -2, axis=1)[:, -2]
        # Of unit vectors the squared distance is 2 - 2·cosine.
        is_kept &= (1.0 - best) <= max_ratio**2 * (1.0 - second_best)
    kept = rows[is_kept]
    order = kept[np.argsort(-best[kept], kind="stable")]
    indices = np.stack((order, partner[order]), axis=1)
    return Matches(indices.astype(np.int32), best[order].astype(np.float32))
