"""Features go only through a matcher that knows their family, and what was found is told."""

from __future__ import annotations

import re

import numpy as np
import pytest
from model_identities import model_identity
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import LocalFeatures, Matches, SentFeatures
from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.pipeline import FeatureMatcher, FeaturePair, MutualNearestMatching

pytest.importorskip("cv2", reason="opencv-python-headless is not installed")

POINTS: NDArray[np.float32] = np.random.default_rng(1).uniform((0, 0), (639, 479), (40, 2)).astype(np.float32)


class RowByRow:
    """A network of a name that pairs equal rows, and counts how often it was asked."""

    def __init__(self, name: str) -> None:
        self.model = model_identity(name)
        self.calls = 0

    def match_features(self, first: LocalFeatures, second: LocalFeatures) -> Matches:
        self.calls += 1
        rows = np.arange(min(first.count, second.count), dtype=np.int32)
        return Matches(np.stack((rows, rows), axis=1), np.ones(len(rows), np.float32))


def sent(model: str, dimension: int, offset_px: tuple[float, float] = (0.0, 0.0)) -> SentFeatures:
    generator = np.random.default_rng(2)
    descriptors = generator.standard_normal((len(POINTS), dimension)).astype(np.float32)
    features = LocalFeatures(
        POINTS + np.array(offset_px, np.float32), np.ones(len(POINTS), np.float32), descriptors, 480, 640
    )
    return SentFeatures(0, "camera", f"{model}/{dimension}/0123456789ab/01234567", features)


def pair(model: str, dimension: int = 128) -> FeaturePair:
    return FeaturePair(sent(model, dimension), sent(model, dimension, (10.0, -5.0)))


@pytest.mark.parametrize("features", ["disk", "aliked_n32"])
def test_features_of_another_family_of_the_same_dimension_are_refused(features: str) -> None:
    network = RowByRow("lightglue_aliked")
    matcher = FeatureMatcher(network, threshold_px=lambda: 3.0)
    sentence = f"'lightglue_aliked' matches the features of aliked_n16 or aliked_n16rot, these are of '{features}'"
    with pytest.raises(InferenceError, match=re.escape(sentence)):
        matcher.process(pair(features))
    assert not network.calls


@pytest.mark.parametrize(
    ("matcher", "features", "dimension"),
    [
        ("lightglue_aliked", "aliked_n16", 128),
        ("lighterglue_xfeat", "xfeat", 64),
        ("lighterglue_xfeat", "xfeat_288x384", 64),
    ],
)
def test_features_of_the_family_are_matched_at_any_input_size(matcher: str, features: str, dimension: int) -> None:
    result = FeatureMatcher(RowByRow(matcher), threshold_px=lambda: 3.0).process(pair(features, dimension))
    assert result.geometry.matrix is not None and result.geometry.inlier_count == len(POINTS)
    np.testing.assert_allclose(result.geometry.matrix[:2, 2], (10.0, -5.0), atol=1e-3)


def test_nearest_neighbors_match_features_of_any_family() -> None:
    nearest = MutualNearestMatching(min_similarity=lambda: 0.0, max_ratio=lambda: 1.0)
    result = FeatureMatcher(nearest, threshold_px=lambda: 3.0).process(pair("somebody_s", 32))
    assert result.model is None and result.geometry.inlier_count == len(POINTS)
