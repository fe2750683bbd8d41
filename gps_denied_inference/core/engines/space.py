"""The name of the space that a network's descriptors live in."""

from __future__ import annotations

from gps_denied_inference.core.contracts import ArchitectureSpec

__all__ = ["model_of_space", "space_id"]


def space_id(model: str, weights_sha256: str, spec: ArchitectureSpec) -> str:
    """Name the space that descriptors live in; two descriptors may be compared only if theirs are equal.

    The runtime, device and precision are left out: engines of one network are held to the same space by the fidelity
    check. The preprocessing is in: a letterboxed frame has another descriptor than a stretched one.

    Returns:
        `model/dimension/first 12 hex digits of the weights' SHA-256/first 8 of the preprocessing's`.
    """
    return f"{model}/{spec.descriptor_dimension}/{weights_sha256[:12]}/{spec.preprocess.sha256[:8]}"


def model_of_space(space: str) -> str:
    """Return the name of the network whose descriptors live in a space; empty when it names none."""
    return space.partition("/")[0]
