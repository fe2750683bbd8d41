"""The descriptor of a whole image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import ArchitectureSpec, GlobalDescriptor
from gps_denied_inference.core.errors import InferenceError, NonFiniteOutputError
from gps_denied_inference.core.features.finite import require_finite

__all__ = ["global_descriptor_from_output"]


def global_descriptor_from_output(values: NDArray[Any], spec: ArchitectureSpec) -> GlobalDescriptor:
    """Make the descriptor of one image.

    Args:
        values: the network's output, any floating type, shape (1, D) or (D,).
        spec: of the architecture; its `is_l2_normalized` says whether the result has unit length.

    Returns:
        float32, a copy that the result owns.

    Raises:
        NonFiniteOutputError: NaN or Inf; or a zero vector where unit length is declared, since it has no
            direction and dividing by its length is not finite.
        InferenceError: the dimension is not the declared one.
    """
    name = spec.output_names[0] if spec.output_names else "descriptor"
    dimension = spec.descriptor_dimension
    if values.shape not in ((1, dimension), (dimension,)):
        raise InferenceError(
            f"output '{name}' has the shape {values.shape}; expected (1, {dimension}) or ({dimension},), the "
            f"descriptor dimension of the architecture: the engine was built from another network"
        )
    flat = values.reshape(-1)
    require_finite(name, flat)
    if not spec.is_l2_normalized:
        return GlobalDescriptor(flat.astype(np.float32))
    # In float64, where the squares of no float32 value overflow or vanish.
    wide = flat.astype(np.float64)
    length = float(np.linalg.norm(wide))
    if length == 0.0:
        raise NonFiniteOutputError(
            f"output '{name}' is zero in all {flat.size} elements; expected a vector that can be scaled "
            f"to unit length: the frame is withheld; check that the weights are loaded and the "
            f"lens is uncovered"
        )
    return GlobalDescriptor((wide / length).astype(np.float32))
