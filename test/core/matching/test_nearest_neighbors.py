from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import LocalFeatures
from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.matching import match_mutual_nearest


def features(descriptors: NDArray[np.floating]) -> LocalFeatures:
    count = len(descriptors)
    rows = descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True)
    keypoints = np.arange(2 * count, dtype=np.float32).reshape(count, 2)
    return LocalFeatures(keypoints, np.ones(count, np.float32), rows.astype(np.float32), 480, 640)


def test_permuted_noisy_copies_find_each_other() -> None:
    generator = np.random.default_rng(0)
    first = generator.normal(size=(200, 32))
    order = generator.permutation(200)
    second = first[order] + 0.1 * generator.normal(size=(200, 32))
    matches = match_mutual_nearest(features(first), features(second))
    assert matches.count == 200
    assert (order[matches.indices[:, 1]] == matches.indices[:, 0]).all()
    assert (np.diff(matches.scores) <= 0).all() and matches.scores[-1] > 0.9


def test_only_mutual_pairs_remain() -> None:
    # The first two rows both like the only row of the second set; it likes the first of them.
    first = np.array([[1.0, 0.0], [0.9, 0.3], [-1.0, 0.1]])
    matches = match_mutual_nearest(features(first), features(np.array([[1.0, 0.0]])), min_similarity=-1.0)
    assert matches.indices.tolist() == [[0, 0]]


def test_thresholds_drop_weak_and_ambiguous_pairs() -> None:
    first = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    second = np.array([[0.6, 0.0, 0.8], [0.0, 1.0, 0.02], [0.0, 1.0, -0.021]])
    assert match_mutual_nearest(features(first), features(second)).count == 2
    strong = match_mutual_nearest(features(first), features(second), min_similarity=0.7)
    assert strong.indices[:, 0].tolist() == [1]
    distinct = match_mutual_nearest(features(first), features(second), max_ratio=0.9)
    assert distinct.indices[:, 0].tolist() == [0]


@pytest.mark.parametrize(("first", "second"), [(0, 5), (5, 0), (0, 0)])
def test_nothing_matches_nothing(first: int, second: int) -> None:
    matches = match_mutual_nearest(features(np.ones((first, 4))), features(np.ones((second, 4))))
    assert matches.indices.shape == (0, 2) and matches.scores.shape == (0,)


def test_features_of_other_dimension_are_refused() -> None:
    with pytest.raises(InferenceError, match="4 and 5 dimensions"):
        match_mutual_nearest(features(np.ones((2, 4))), features(np.ones((2, 5))))
