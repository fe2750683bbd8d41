"""An array's memory as a torch tensor, without a copy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.optional import require

__all__ = ["tensor_view"]


class _WritableView:
    """Shows numpy the memory of an array as writable, and keeps the array alive."""

    def __init__(self, array: NDArray[Any]) -> None:
        address, _ = array.__array_interface__["data"]
        self.array = array
        self.__array_interface__: dict[str, Any] = dict(array.__array_interface__) | {"data": (address, False)}


def tensor_view(array: NDArray[Any]) -> Any:
    """Return a tensor on the memory of an array, which may be read-only: only read the tensor.

    torch warns about every read-only array that it wraps, and frames are read-only.

    Args:
        array: strides must not be negative.

    Raises:
        RuntimeNotAvailableError: torch is not installed.
    """
    torch = require("torch", install="pip install torch==2.13.0", purpose="arrays as tensors")
    return torch.from_numpy(array if array.flags.writeable else np.asarray(_WritableView(array)))
