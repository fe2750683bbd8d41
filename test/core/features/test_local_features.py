from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import (
    ArchitectureSpec,
    ColorSpace,
    LocalFeatures,
    OutputKind,
    PreprocessSpec,
    ResizeMode,
    TensorSpec,
)
from gps_denied_inference.core.errors import InferenceError, NonFiniteOutputError
from gps_denied_inference.core.features import local_features_from_outputs
from gps_denied_inference.core.imaging import PixelTransform, Preprocessor

DIMENSION = 4
IDENTITY = PixelTransform(1.0, 1.0)


def spec_of(*, is_l2_normalized: bool = False) -> ArchitectureSpec:
    return ArchitectureSpec(
        inputs=(TensorSpec("image", (1, 1, 8, 8)),),
        preprocess=PreprocessSpec(8, 8, ColorSpace.GRAY, (0.0,), (1.0,)),
        output_kind=OutputKind.LOCAL_FEATURES,
        output_names=("keypoints", "scores", "descriptors"),
        descriptor_dimension=DIMENSION,
        is_l2_normalized=is_l2_normalized,
        max_keypoints=16,
        weights=None,
        license="Apache-2.0",
        paper="",
    )


def outputs_of(scores: list[float], keypoints: list[tuple[float, float]] | None = None) -> dict[str, NDArray[Any]]:
    """Row i stands at (i, 2 i) and its descriptor holds i + 1 everywhere."""
    count = len(scores)
    rows = np.arange(count, dtype=np.float32)
    points = np.stack((rows, 2 * rows), axis=1) if keypoints is None else np.array(keypoints, np.float32)
    return {
        "keypoints": points.reshape(1, count, 2),
        "scores": np.array(scores, np.float32).reshape(1, count),
        "descriptors": np.repeat(rows + 1, DIMENSION).reshape(1, count, DIMENSION),
    }


def features_of(
    outputs: dict[str, NDArray[Any]],
    *,
    top_k: int = 100,
    transform: PixelTransform = IDENTITY,
    size: tuple[int, int] = (100, 100),
    is_l2_normalized: bool = False,
) -> LocalFeatures:
    return local_features_from_outputs(
        outputs,
        spec_of(is_l2_normalized=is_l2_normalized),
        transform,
        image_height=size[0],
        image_width=size[1],
        top_k=top_k,
    )


def test_the_best_scores_come_first_with_their_own_rows() -> None:
    features = features_of(outputs_of([0.2, 0.9, 0.5, 0.7]), top_k=3)
    np.testing.assert_allclose(features.scores, [0.9, 0.7, 0.5])
    np.testing.assert_array_equal(features.keypoints_px, [[1, 2], [3, 6], [2, 4]])
    np.testing.assert_array_equal(features.descriptors[:, 0], [2, 4, 3])
    assert (features.image_height, features.image_width, features.dimension) == (100, 100, DIMENSION)


def test_equal_scores_keep_the_order_of_the_network() -> None:
    features = features_of(outputs_of([0.5, 0.9, 0.5, 0.9, 0.5]), top_k=4)
    np.testing.assert_array_equal(features.keypoints_px[:, 0], [1, 3, 0, 2])


def test_padding_rows_are_left_out_whatever_they_hold() -> None:
    outputs = outputs_of([0.0, 0.4, -1.0])
    outputs["keypoints"][0, 0] = np.nan
    outputs["descriptors"][0, 2] = np.inf
    features = features_of(outputs)
    np.testing.assert_array_equal(features.keypoints_px, [[1, 2]])


@pytest.mark.parametrize("scores", [[], [0.0, 0.0]])
def test_no_keypoint_gives_empty_arrays_of_the_right_shape(scores: list[float]) -> None:
    features = features_of(outputs_of(scores))
    assert features.keypoints_px.shape == (0, 2)
    assert features.scores.shape == (0,)
    assert features.descriptors.shape == (0, DIMENSION)
    assert features.count == 0


def test_keypoints_outside_the_image_make_room_for_those_inside() -> None:
    keypoints = [(-0.6, 5.0), (9.6, 5.0), (5.0, -0.6), (5.0, 19.6), (-0.5, -0.5), (9.5, 19.5)]
    scores = [0.9, 0.9, 0.9, 0.9, 0.2, 0.1]
    features = features_of(outputs_of(scores, keypoints), size=(20, 10), top_k=2)
    np.testing.assert_allclose(features.keypoints_px, [[-0.5, -0.5], [9.5, 19.5]])


def test_keypoints_return_to_the_pixels_of_the_original_image() -> None:
    transform = PixelTransform(scale_x=0.5, scale_y=0.25, offset_x_px=3.0, offset_y_px=0.0)
    features = features_of(outputs_of([0.5], [(10.0, 6.0)]), transform=transform)
    np.testing.assert_allclose(features.keypoints_px, [[(10.5 - 3.0) / 0.5 - 0.5, 6.5 / 0.25 - 0.5]])


def test_keypoints_in_the_letterbox_border_are_left_out() -> None:
    spec = PreprocessSpec(64, 64, ColorSpace.GRAY, (0.0,), (1.0,), ResizeMode.LETTERBOX)
    _, transform = Preprocessor(spec).prepare(np.zeros((60, 120, 1), np.uint8))
    # 120x60 becomes 64x32, so the image fills the rows 16 to 47.
    outputs = outputs_of([0.9, 0.8, 0.7, 0.6], [(30.0, 15.0), (30.0, 16.0), (30.0, 47.0), (30.0, 48.0)])
    features = features_of(outputs, transform=transform, size=(60, 120))
    np.testing.assert_allclose(features.scores, [0.8, 0.7])


@given(
    scores=st.lists(st.floats(-1, 1, width=32), max_size=40),
    top_k=st.integers(1, 50),
)
def test_the_result_is_what_a_stable_sort_of_the_valid_rows_gives(scores: list[float], top_k: int) -> None:
    features = features_of(outputs_of(scores), top_k=top_k)
    valid = [row for row in range(len(scores)) if scores[row] > 0]
    expected = sorted(valid, key=lambda row: -scores[row])[:top_k]
    assert features.keypoints_px[:, 0].tolist() == expected
    assert features.scores.tolist() == [scores[row] for row in expected]


def test_outputs_in_half_precision_give_float32_copies() -> None:
    outputs = {name: values.astype(np.float16) for name, values in outputs_of([0.5, 0.25]).items()}
    features = features_of(outputs)
    for values in (features.keypoints_px, features.scores, features.descriptors):
        assert values.dtype == np.float32
        assert values.flags.c_contiguous


def test_the_result_owns_its_arrays() -> None:
    outputs = outputs_of([0.5, 0.25])
    features = features_of(outputs)
    for values in outputs.values():
        values[:] = 99
    np.testing.assert_array_equal(features.keypoints_px, [[0, 0], [1, 2]])
    np.testing.assert_array_equal(features.scores, [0.5, 0.25])
    np.testing.assert_array_equal(features.descriptors[:, 0], [1, 2])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["keypoints", "scores", "descriptors"])
def test_values_that_are_not_finite_are_withheld_by_name(name: str, bad: float) -> None:
    outputs = outputs_of([0.5, 0.25, 0.1])
    outputs[name][0, 1, ...] = bad
    with pytest.raises(NonFiniteOutputError, match=f"'{name}' has"):
        features_of(outputs)


def test_declared_descriptors_get_unit_length() -> None:
    features = features_of(outputs_of([0.5, 0.25]), is_l2_normalized=True)
    np.testing.assert_allclose(np.linalg.norm(features.descriptors, axis=1), 1.0, rtol=1e-6)


def test_a_zero_descriptor_cannot_get_unit_length() -> None:
    outputs = outputs_of([0.5, 0.25])
    outputs["descriptors"][0, 1] = 0
    with pytest.raises(NonFiniteOutputError, match="unit length"):
        features_of(outputs, is_l2_normalized=True)


def test_a_missing_output_is_named() -> None:
    outputs = outputs_of([0.5])
    del outputs["scores"]
    with pytest.raises(InferenceError, match=r"scores are missing.*keypoints, descriptors"):
        features_of(outputs)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("keypoints", (1, 2, 3)),
        ("keypoints", (2, 2)),
        ("scores", (2,)),
        ("scores", (2, 1)),
        ("descriptors", (1, 2, DIMENSION + 1)),
        ("descriptors", (1, 3, DIMENSION)),
    ],
)
def test_an_output_of_another_shape_is_refused(name: str, shape: tuple[int, ...]) -> None:
    outputs = outputs_of([0.5, 0.25])
    outputs[name] = np.ones(shape, np.float32)
    with pytest.raises(InferenceError, match=f"'{name}' has the shape"):
        features_of(outputs)


@pytest.mark.parametrize("top_k", [0, -1])
def test_fewer_than_one_keypoint_cannot_be_asked_for(top_k: int) -> None:
    with pytest.raises(InferenceError, match="top_k"):
        features_of(outputs_of([0.5]), top_k=top_k)
