"""NaN and Inf stop here."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.errors import NonFiniteOutputError

__all__ = ["require_finite"]


def require_finite(name: str, values: NDArray[Any]) -> None:
    """Refuse an output that holds NaN or Inf.

    Raises:
        NonFiniteOutputError: names the output and says how many of its elements are not finite.
    """
    finite = np.isfinite(values)
    if not finite.all():
        count = values.size - int(np.count_nonzero(finite))
        raise NonFiniteOutputError(
            f"output '{name}' has {count} of {values.size} elements that are "
            f"NaN or Inf; expected finite values: the frame is withheld; if it recurs, run the engine in FP32"
        )
