from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.runtime.torch_outputs import arrays_from_tensors, named_tensors

torch = pytest.importorskip("torch", reason="torch is not installed")


@dataclass
class Outputs:
    a: Any
    b: Any


@pytest.mark.parametrize(
    ("returned", "named"),
    [
        ((1,), "returned 1 outputs"),
        ((1, 2, 3), "returned 3 outputs"),
        ({"a": 1}, "without"),
        (None, "returned 1 outputs"),
        (Outputs(torch.zeros(1), None), "NoneType"),
        (Outputs, "returned 1 outputs"),
    ],
    ids=["few", "many", "missing", "none", "no-tensor", "class"],
)
def test_outputs_that_do_not_fit_the_names_are_refused(returned: Any, named: str) -> None:
    with pytest.raises(InferenceError, match=named):
        named_tensors(returned, ("a", "b"))


def test_order_is_the_declared_one_and_extra_entries_are_left_out() -> None:
    returned = {"b": torch.ones(1), "loss": "text", "a": torch.zeros(1)}
    assert list(named_tensors(returned, ("a", "b"))) == ["a", "b"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.int64], ids=str)
def test_arrays_are_contiguous_float32_of_their_own(dtype: Any) -> None:
    tensor = torch.arange(6).reshape(2, 3).to(dtype).t()
    array = arrays_from_tensors({"a": tensor})["a"]
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    assert array.flags.owndata
    np.testing.assert_array_equal(array, [[0, 3], [1, 4], [2, 5]])
