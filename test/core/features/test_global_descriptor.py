from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gps_denied_inference.core.contracts import (
    ArchitectureSpec,
    ColorSpace,
    OutputKind,
    PreprocessSpec,
    TensorSpec,
)
from gps_denied_inference.core.errors import InferenceError, NonFiniteOutputError
from gps_denied_inference.core.features import global_descriptor_from_output


def spec_of(dimension: int, *, is_l2_normalized: bool = True) -> ArchitectureSpec:
    return ArchitectureSpec(
        inputs=(TensorSpec("image", (1, 3, 8, 8)),),
        preprocess=PreprocessSpec(8, 8, ColorSpace.RGB, (0.0,) * 3, (1.0,) * 3),
        output_kind=OutputKind.GLOBAL_DESCRIPTOR,
        output_names=("embedding",),
        descriptor_dimension=dimension,
        is_l2_normalized=is_l2_normalized,
        max_keypoints=0,
        weights=None,
        license="Apache-2.0",
        paper="",
    )


@pytest.mark.parametrize("shape", [(1, 4), (4,)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_declared_descriptor_gets_unit_length(shape: tuple[int, ...], dtype: type[np.floating]) -> None:
    values = np.array([3.0, 0.0, -4.0, 12.0], dtype).reshape(shape)
    descriptor = global_descriptor_from_output(values, spec_of(4))
    assert descriptor.values.dtype == np.float32
    assert descriptor.dimension == 4
    np.testing.assert_allclose(descriptor.values, np.array([3.0, 0.0, -4.0, 12.0]) / 13.0, rtol=1e-6)


def test_an_undeclared_descriptor_keeps_its_length() -> None:
    values = np.array([[3.0, 0.0, -4.0]], np.float32)
    descriptor = global_descriptor_from_output(values, spec_of(3, is_l2_normalized=False))
    np.testing.assert_array_equal(descriptor.values, values[0])


@pytest.mark.parametrize("is_l2_normalized", [True, False])
def test_the_result_owns_its_values(is_l2_normalized: bool) -> None:
    values = np.array([[0.6, 0.8]], np.float32)
    descriptor = global_descriptor_from_output(values, spec_of(2, is_l2_normalized=is_l2_normalized))
    assert not np.shares_memory(descriptor.values, values)
    assert descriptor.values.flags.c_contiguous


@given(
    exponent=st.integers(-40, 38),
    elements=st.lists(st.floats(-1, 1).filter(lambda value: abs(value) > 1e-3), min_size=1, max_size=8),
)
def test_the_length_is_one_at_any_scale_of_float32(exponent: int, elements: list[float]) -> None:
    values = np.array(elements, np.float64) * 10.0**exponent
    narrow = values.astype(np.float32)
    if not narrow.any() or not np.isfinite(narrow).all():
        return
    descriptor = global_descriptor_from_output(narrow, spec_of(len(elements)))
    assert abs(float(np.linalg.norm(descriptor.values.astype(np.float64))) - 1.0) < 1e-6


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("is_l2_normalized", [True, False])
def test_values_that_are_not_finite_are_withheld_with_their_count(bad: float, is_l2_normalized: bool) -> None:
    values = np.array([[bad, 1.0, bad]], np.float32)
    with pytest.raises(NonFiniteOutputError, match="'embedding' has 2 of 3"):
        global_descriptor_from_output(values, spec_of(3, is_l2_normalized=is_l2_normalized))


def test_a_zero_vector_cannot_get_unit_length() -> None:
    with pytest.raises(NonFiniteOutputError, match="is zero"):
        global_descriptor_from_output(np.zeros((1, 3), np.float32), spec_of(3))


def test_a_zero_vector_passes_where_no_length_is_declared() -> None:
    descriptor = global_descriptor_from_output(np.zeros((1, 3), np.float32), spec_of(3, is_l2_normalized=False))
    np.testing.assert_array_equal(descriptor.values, np.zeros(3))


@pytest.mark.parametrize("shape", [(1, 2), (2, 3), (1, 3, 1), (3, 1), ()])
def test_another_shape_is_refused_with_the_expected_one(shape: tuple[int, ...]) -> None:
    with pytest.raises(InferenceError, match=r"expected \(1, 3\)"):
        global_descriptor_from_output(np.ones(shape, np.float32), spec_of(3))
