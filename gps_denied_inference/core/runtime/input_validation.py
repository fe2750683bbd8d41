"""Refuses inputs that an engine cannot take, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import TensorSpec
from gps_denied_inference.core.errors import InferenceError

__all__ = ["validate_inputs"]


def validate_inputs(
    specs: Sequence[TensorSpec], inputs: Mapping[str, NDArray[Any]], *, looks_for_nan: bool = True
) -> None:
    """Check names, shapes, dtypes and values against what the engine declares.

    Args:
        looks_for_nan: False when the engine itself looks for NaN and Inf.

    Raises:
        InferenceError: names the input, what came and what was expected.
    """
    expected = [spec.name for spec in specs]
    if set(inputs) != set(expected):
        raise InferenceError(f"inputs are named {sorted(map(str, inputs))}; the engine takes {expected}")
    for spec in specs:
        values = inputs[spec.name]
        if not isinstance(values, np.ndarray):
            raise InferenceError(f"input '{spec.name}' is a {type(values).__name__}; hand over a numpy array")
        if values.shape != spec.shape:
            raise InferenceError(f"input '{spec.name}' has shape {values.shape}; the engine takes {spec.shape}")
        if values.dtype != np.dtype(spec.dtype):
            raise InferenceError(f"input '{spec.name}' has dtype {values.dtype}; the engine takes {spec.dtype}")
        if looks_for_nan and not bool(np.isfinite(values).all()):
            count = int(np.count_nonzero(~np.isfinite(values)))
            raise InferenceError(f"input '{spec.name}' has {count} values that are NaN or Inf; drop the frame")
