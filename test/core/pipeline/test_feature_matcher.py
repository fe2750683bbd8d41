"""Features go only through a matcher that knows their family, and what was found is told."""

from __future__ import annotations

import re
import threading
from dataclasses import replace

import numpy as np
import pytest
from model_identities import model_identity
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import LocalFeatures, Matches, SentFeatures
from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.matching import GeometryKind
from gps_denied_inference.core.pipeline import FeatureMatcher, FeaturePair, MatchedFeatures, MutualNearestMatching

pytest.importorskip("cv2", reason="opencv-python-headless is not installed")

POINTS: NDArray[np.float32] = np.random.default_rng(1).uniform((0, 0), (639, 479), (40, 2)).astype(np.float32)


class RowByRow:
    """A network of a name that pairs equal rows, and counts how often it was asked."""

    def __init__(self, name: str) -> None:
        self.model = model_identity(name)
        self.calls = 0
        self.threads: list[threading.Thread] = []

    def warm_up_thread(self) -> None:
        self.threads.append(threading.current_thread())

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


def test_both_networks_are_warmed_on_the_thread_that_asks() -> None:
    network, refinement = RowByRow("lightglue_aliked"), RowByRow("lightglue_aliked")
    matcher = FeatureMatcher(network, threshold_px=lambda: 3.0, refinement=refinement, refine_below_inliers=10)
    thread = threading.Thread(target=matcher.warm_up_thread)
    thread.start()
    thread.join()
    assert network.threads == refinement.threads == [thread]


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
    assert (result.second_height, result.second_width, result.points) == (480, 640, None)


def test_nearest_neighbors_match_features_of_any_family() -> None:
    nearest = MutualNearestMatching(min_similarity=lambda: 0.0, max_ratio=lambda: 1.0)
    result = FeatureMatcher(nearest, threshold_px=lambda: 3.0).process(pair("somebody_s", 32))
    assert result.model is None and result.geometry.inlier_count == len(POINTS)


class Wrong(RowByRow):
    """Pairs rows that have nothing in common, but for the first few."""

    def __init__(self, name: str, right: int) -> None:
        super().__init__(name)
        self._right = right

    def match_features(self, first: LocalFeatures, second: LocalFeatures) -> Matches:
        found = super().match_features(first, second)
        indices = found.indices.copy()
        indices[self._right :, 1] = np.random.default_rng(5).permutation(indices[self._right :, 1])
        return Matches(indices, found.scores)


def test_pairs_with_few_inliers_are_matched_once_more_and_the_better_result_counts() -> None:
    network, cheap = RowByRow("lighterglue_xfeat"), Wrong("lighterglue_xfeat", 8)

    def matched(first: RowByRow, bound: int) -> MatchedFeatures:
        matcher = FeatureMatcher(first, threshold_px=lambda: 3.0, refinement=network, refine_below_inliers=bound)
        return matcher.process(pair("xfeat", 64))

    enough = matched(cheap, 8)
    assert (network.calls, enough.model) == (0, cheap.model) and 8 <= enough.geometry.inlier_count < 20
    refined = matched(cheap, 20)
    assert (network.calls, refined.model) == (1, network.model) and refined.geometry.inlier_count == len(POINTS)
    assert refined.timings.infer_ms + refined.timings.postprocess_ms <= refined.timings.total_ms + 1e-6
    good, network = RowByRow("lighterglue_xfeat"), Wrong("lighterglue_xfeat", 8)
    kept = matched(good, 4096)
    assert (network.calls, kept.model) == (1, good.model), "what the second attempt made worse is not taken"
    nearest = MutualNearestMatching(min_similarity=lambda: 0.0, max_ratio=lambda: 1.0)
    matcher = FeatureMatcher(nearest, threshold_px=lambda: 3.0, refinement=network)
    with pytest.raises(InferenceError, match="'lighterglue_xfeat' matches the features of xfeat"):
        matcher.process(pair("superpoint", 256))


def test_essential_matrix_tells_how_the_camera_turned_and_where_it_went() -> None:
    camera = np.array([[500.0, 0.0, 320.0], [0.0, 500.0, 240.0], [0.0, 0.0, 1.0]])
    depth_m = np.random.default_rng(6).uniform(20.0, 60.0, len(POINTS))
    rays = np.asarray(np.column_stack((POINTS, np.ones(len(POINTS)))) @ np.linalg.inv(camera).T, np.float64)
    turn = np.deg2rad(5.0)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0.0], [np.sin(turn), np.cos(turn), 0.0], [0.0, 0.0, 1.0]])
    translation_m = np.array([3.0, -1.0, 0.5])
    seen = (rays * depth_m[:, np.newaxis]) @ rotation.T + translation_m
    moved_px = (seen @ camera.T)[:, :2] / seen[:, 2:]
    first = sent("xfeat", 64)
    second = replace(first, features=replace(first.features, keypoints_px=moved_px.astype(np.float32)))
    matcher = FeatureMatcher(RowByRow("lighterglue_xfeat"), threshold_px=lambda: 1.0, camera=camera)
    geometry = matcher.process(FeaturePair(first, second)).geometry
    assert geometry.kind is GeometryKind.ESSENTIAL_MATRIX and geometry.inlier_count >= len(POINTS) - 1
    assert geometry.rotation is not None and geometry.translation_direction is not None
    np.testing.assert_allclose(geometry.rotation, rotation, atol=0.01)
    np.testing.assert_allclose(geometry.translation_direction, translation_m / np.linalg.norm(translation_m), atol=0.05)
