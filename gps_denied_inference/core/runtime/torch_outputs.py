"""Names for what a network returns: a tensor, tuple, list, dict or dataclass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.errors import InferenceError

if TYPE_CHECKING:
    import torch

__all__ = ["arrays_from_tensors", "named_tensors"]


def named_tensors(returned: Any, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """Give the outputs their declared names, in the declared order.

    Args:
        returned: a tensor (one name), a tuple or list (names by position), or a mapping or dataclass that has each
            name; what else these hold is left out.
        names: the architecture's `output_names`.

    Raises:
        InferenceError: an output is missing or is no tensor.
    """
    if isinstance(returned, Mapping):
        named: dict[str, Any] = dict(returned)
    elif is_dataclass(returned) and not isinstance(returned, type):
        named = {item.name: getattr(returned, item.name) for item in fields(returned)}
    else:
        values = list(returned) if isinstance(returned, (tuple, list)) else [returned]
        if len(values) != len(names):
            raise InferenceError(
                f"the network returned {len(values)} outputs, its specification names {len(names)}: {list(names)}; "
                "correct output_names"
            )
        named = dict(zip(names, values, strict=True))
    missing = [name for name in names if name not in named]
    if missing:
        raise InferenceError(f"the network returned {sorted(named)}, without {missing}; correct output_names")
    for name in names:
        if not hasattr(named[name], "detach"):
            raise InferenceError(f"output '{name}' is a {type(named[name]).__name__}; the network must return tensors")
    return {name: named[name] for name in names}


def arrays_from_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, NDArray[np.float32]]:
    """Copy outputs to numpy float32. Waits for the device; the arrays share no memory with the network."""
    arrays = {}
    for name, tensor in tensors.items():
        values = tensor.detach().float().cpu().numpy()
        arrays[name] = np.array(values, dtype=np.float32, order="C", copy=True)
    return arrays
