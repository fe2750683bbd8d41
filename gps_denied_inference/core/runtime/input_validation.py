"""Refuses inputs that an engine cannot take, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import TensorSpec
from gps_denied_inference.core.errors import InferenceError

__all__ = ["validate_inputs"]


def validate_inputs(specs: Sequence[TensorSpec], inputs: Mapping[str, NDArray[Any]]) -> None:
    """Check names, shapes, dtypes and values against what the engine declares.

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
        if not _is_finite(values):
            count = int(np.count_nonzero(~np.isfinite(values)))
            raise InferenceError(f"input '{spec.name}' has {count} values that are NaN or Inf; drop the frame")


def _is_finite(values: NDArray[Any]) -> bool:
    """Tell whether all values are finite.

    NaN and Inf survive in a sum of squares, which BLAS adds up several times as fast as they can be looked for one by
    one; a sum that overflows without them is looked at closely.
    """
    if values.dtype in (np.float32, np.float64) and values.flags.c_contiguous:
        flat = values.reshape(-1)
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(np.dot(flat, flat)):
                return True
    return bool(np.isfinite(values).all())
