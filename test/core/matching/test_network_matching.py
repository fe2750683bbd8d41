from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gps_denied_inference.core.architectures import default_registry
from gps_denied_inference.core.contracts import LocalFeatures
from gps_denied_inference.core.errors import InferenceError, NonFiniteOutputError
from gps_denied_inference.core.matching import (
    correspondence_inputs,
    correspondences_from_outputs,
    feature_matcher_inputs,
    matches_from_outputs,
)

SPARSE = default_registry().lookup("lighterglue_xfeat").spec
DENSE = default_registry().lookup("efficient_loftr").spec
ROWS = SPARSE.max_keypoints


def features(count: int, dimension: int = 64, height: int = 300, width: int = 400) -> LocalFeatures:
    generator = np.random.default_rng(count)
    return LocalFeatures(
        generator.uniform((0, 0), (width - 1, height - 1), (count, 2)).astype(np.float32),
        np.sort(generator.uniform(0.0, 1e-6, count)).astype(np.float32)[::-1].copy(),
        generator.normal(size=(count, dimension)).astype(np.float32),
        height,
        width,
    )


def outputs(matches: NDArray[Any], scores: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
    padded = {"matches": np.full((1, ROWS), -1.0, np.float32), "scores": np.zeros((1, ROWS), np.float32)}
    padded["matches"][0, : len(matches)] = matches
    padded["scores"][0, : len(scores)] = scores
    return padded


def test_features_are_padded_centred_and_marked() -> None:
    inputs = feature_matcher_inputs(features(7), features(3), SPARSE)
    assert {name: values.shape for name, values in inputs.items()} == {item.name: item.shape for item in SPARSE.inputs}
    assert all(values.dtype == np.float32 for values in inputs.values())
    assert (inputs["scores0"][0, :7] == 1).all(), "small scores must not become padding in FP16"
    assert not inputs["scores0"][0, 7:].any() and not inputs["descriptors1"][0, 3:].any()
    centre = LocalFeatures(
        np.array([[200.0, 150.0], [400.0, 0.0]], np.float32),
        np.ones(2, np.float32),
        np.ones((2, 64), np.float32),
        300,
        400,
    )
    keypoints = feature_matcher_inputs(centre, centre, SPARSE)["keypoints0"][0]
    np.testing.assert_allclose(keypoints[:2], [[0.0, 0.0], [1.0, -0.75]])


def test_of_too_many_features_the_best_are_kept() -> None:
    many = features(ROWS + 50)
    inputs = feature_matcher_inputs(many, features(1), SPARSE)
    assert (inputs["scores0"] == 1).all()
    np.testing.assert_array_equal(inputs["descriptors0"][0], many.descriptors[:ROWS])


def test_features_of_another_network_or_for_another_kind_are_refused() -> None:
    with pytest.raises(InferenceError, match="second descriptors have 128"):
        feature_matcher_inputs(features(2), features(2, 128), SPARSE)
    with pytest.raises(InferenceError, match="correspondences"):
        feature_matcher_inputs(features(2), features(2), DENSE)
    with pytest.raises(InferenceError, match="takes two images"):
        correspondence_inputs(np.zeros((4, 4, 1), np.uint8), np.zeros((4, 4, 1), np.uint8), SPARSE)


def test_matches_are_read_best_first_without_padding() -> None:
    found = matches_from_outputs(
        outputs(np.array([2.0, -1.0, 0.0]), np.array([0.3, 0.0, 0.8])), SPARSE, features(3), features(3)
    )
    assert found.indices.tolist() == [[2, 0], [0, 2]] and found.indices.dtype == np.int32
    assert found.scores.tolist() == pytest.approx([0.8, 0.3]) and found.count == 2


def test_matched_padding_is_an_error_not_a_match() -> None:
    with pytest.raises(InferenceError, match="padding was matched"):
        matches_from_outputs(outputs(np.array([5.0]), np.array([0.9])), SPARSE, features(3), features(3))
    with pytest.raises(InferenceError, match="padding was matched"):
        matches_from_outputs(outputs(np.array([-1.0, 0.0]), np.array([0.0, 0.9])), SPARSE, features(1), features(3))


@pytest.mark.parametrize("name", ["matches", "scores"])
def test_nan_and_misshapen_outputs_are_refused(name: str) -> None:
    broken = outputs(np.array([0.0]), np.array([0.9]))
    broken[name][0, 5] = np.nan
    with pytest.raises(NonFiniteOutputError, match=name):
        matches_from_outputs(broken, SPARSE, features(3), features(3))
    broken[name] = broken[name][:, :5]
    with pytest.raises(InferenceError, match=name):
        matches_from_outputs(broken, SPARSE, features(3), features(3))
    del broken[name]
    with pytest.raises(InferenceError, match=f"'{name}' is missing"):
        matches_from_outputs(broken, SPARSE, features(3), features(3))


def test_correspondences_come_back_in_pixels_of_their_own_images() -> None:
    pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
    first, second = np.zeros((960, 1280, 1), np.uint8), np.full((480, 640, 1), 255, np.uint8)
    inputs = correspondence_inputs(first, second, DENSE)
    assert {name: values.shape for name, values in inputs.arrays.items()} == {
        item.name: item.shape for item in DENSE.inputs
    }
    assert not inputs.arrays["image0"].any() and (inputs.arrays["image1"] == 1).all(), "neither overwrites the other"
    returned = {
        "points0": np.full((1, ROWS, 2), np.nan, np.float32),
        "points1": np.full((1, ROWS, 2), np.nan, np.float32),
        "scores": np.zeros((1, ROWS), np.float32),
    }
    returned["points0"][0, :2] = returned["points1"][0, :2] = [[100, 50], [200, 60]]
    returned["scores"][0, :2] = [0.5, 0.9]
    found = correspondences_from_outputs(returned, DENSE, inputs.transforms)
    assert found.count == 2 and found.scores.tolist() == pytest.approx([0.9, 0.5])
    # Centres at integers: pixel 200 of 640 begins at 200 and ends at 201, of 1280 at 400 and 402.
    np.testing.assert_allclose(found.first_px, [[400.5, 120.5], [200.5, 100.5]])
    np.testing.assert_allclose(found.second_px, [[200, 60], [100, 50]])
    returned["points1"][0, 0, 0] = np.inf
    with pytest.raises(NonFiniteOutputError, match="points1"):
        correspondences_from_outputs(returned, DENSE, inputs.transforms)
