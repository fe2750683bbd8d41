"""Ranges of shapes: what a model leaves open against what a build gives, and what an engine takes against a request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gps_denied_inference.core.contracts import OptimizationProfile
from gps_denied_inference.core.errors import EngineBuildError, EngineDeserializeError

__all__ = ["dynamic_inputs", "require_profiles", "require_shape"]


def dynamic_inputs(network: Any) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the inputs that leave sizes open (-1)."""
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    shapes = {item.name: tuple(item.shape) for item in inputs}
    return {name: shape for name, shape in shapes.items() if any(size < 0 for size in shape)}


def require_profiles(network: Any, profiles: Sequence[OptimizationProfile], source: Path) -> None:
    """Compare profiles with a network.

    Raises:
        EngineBuildError: an open input has none, or one does not fit its input.
    """
    known = {network.get_input(index).name: network.get_input(index) for index in range(network.num_inputs)}
    given = [profile.input_name for profile in profiles]
    if len(set(given)) != len(given):
        raise EngineBuildError(f"inputs {given} have more than one profile; give one for each")
    unknown = [name for name in given if name not in known]
    if unknown:
        raise EngineBuildError(f"profiles name inputs {unknown}; {source} takes {sorted(known)}: correct the names")
    missing = sorted(set(dynamic_inputs(network)) - set(given))
    if missing:
        raise EngineBuildError(f"{source} leaves sizes of {missing} open; give each a profile (min, opt, max)")
    for profile in profiles:
        shape = tuple(known[profile.input_name].shape)
        sizes = (profile.min_shape, profile.opt_shape, profile.max_shape)
        fits = all(len(item) == len(shape) for item in sizes) and all(
            1 <= low <= usual <= high and (size < 0 or low == high == size)
            for size, low, usual, high in zip(shape, *sizes, strict=True)
        )
        if not fits:
            raise EngineBuildError(
                f"the profile of '{profile.input_name}' (min {profile.min_shape}, opt {profile.opt_shape}, max "
                f"{profile.max_shape}) does not fit its shape {shape} (-1 is open); sizes must not fall from min to "
                "max, and fixed ones are equal"
            )


def require_shape(engine: Any, name: str, wanted: tuple[int, ...], source: Path) -> None:
    """Compare the shape that an input will have with what an engine was built for.

    Raises:
        EngineDeserializeError: it is outside the profile.
    """
    shape = tuple(engine.get_tensor_shape(name))
    low = high = shape
    if any(size < 0 for size in shape):
        low, _, high = (tuple(item) for item in engine.get_tensor_profile_shape(name, 0))
    if len(wanted) != len(shape) or any(
        not least <= size <= most for least, size, most in zip(low, wanted, high, strict=True)
    ):
        expected = f"{low}" if low == high else f"{low} to {high}"
        raise EngineDeserializeError(
            f"input '{name}' of {source} takes {expected}; the registered network takes {wanted}. Build the engine "
            "again from this network"
        )
