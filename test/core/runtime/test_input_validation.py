from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gps_denied_inference.core.contracts import TensorSpec
from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.runtime.input_validation import validate_inputs


@given(
    st.sampled_from(["float32", "float64", "float16"]).flatmap(
        lambda dtype: arrays.arrays(dtype, st.integers(1, 40), elements=st.floats(width=16) | st.just(1e4))
    )
)
def test_exactly_arrays_with_nan_or_inf_are_refused(values: Any) -> None:
    spec = TensorSpec("image", values.shape, str(values.dtype))
    if np.isfinite(values).all():
        validate_inputs([spec], {"image": values})
    else:
        count = int(np.count_nonzero(~np.isfinite(values)))
        with pytest.raises(InferenceError, match=f"has {count} values that are NaN or Inf"):
            validate_inputs([spec], {"image": values})


@pytest.mark.parametrize("value", [3e38, -3e38])
def test_values_whose_squares_overflow_are_finite(value: float) -> None:
    values = np.full((2, 3), value, np.float32)
    validate_inputs([TensorSpec("image", (2, 3), "float32")], {"image": values})


def test_arrays_that_are_no_block_of_memory_are_looked_at_too() -> None:
    values = np.zeros((4, 6), np.float32)[:, ::2]
    spec = TensorSpec("image", (4, 3), "float32")
    validate_inputs([spec], {"image": values})
    values[3, 2] = np.nan
    with pytest.raises(InferenceError, match="1 values"):
        validate_inputs([spec], {"image": values})
