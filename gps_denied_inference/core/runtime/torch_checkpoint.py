"""Checkpoints, read without running code that they may hold."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gps_denied_inference.core.architectures import ArchitectureEntry
from gps_denied_inference.core.architectures.install_commands import install_command
from gps_denied_inference.core.errors import EngineDeserializeError, RuntimeNotAvailableError
from gps_denied_inference.core.optional import require

if TYPE_CHECKING:
    import torch

__all__ = ["load_published", "load_strictly", "state_dict_from_bytes"]

_NESTING_KEYS = ("state_dict", "model_state_dict", "model", "extractor")
_MOST_KEYS_SHOWN = 12


def state_dict_from_bytes(content: bytes, suffix: str, name: str) -> dict[str, torch.Tensor]:
    """Parse a checkpoint: safetensors by suffix, else `torch.load` with `weights_only=True`.

    Args:
        content: of the file.
        suffix: of the file's name, e.g. `.safetensors`.
        name: of the file, for messages.

    Returns:
        Tensors on the CPU by parameter name, taken out of a surrounding `state_dict`, `model_state_dict`, `model` or
        `extractor`.

    Raises:
        ValueError: it is no checkpoint of plain tensors; says what it is. The parser's exception is the `__cause__`.
        RuntimeNotAvailableError: torch or safetensors is absent.
    """
    try:
        loaded = _parse(content, suffix)
    except RuntimeNotAvailableError:
        raise
    except Exception as error:  # the parsers raise whatever the bytes lead them to
        raise ValueError(
            f"{name} is not a checkpoint that can be loaded safely ({type(error).__name__}: {_first_line(error)}); "
            "save plain tensors: torch.save(model.state_dict(), path) or safetensors"
        ) from error
    for key in _NESTING_KEYS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    torch = require("torch", install=install_command("torch"), purpose="reading a checkpoint")
    if not isinstance(loaded, Mapping) or not loaded:
        raise ValueError(f"{name} holds a {type(loaded).__name__} without parameters; expected named tensors")
    foreign = [str(key) for key, value in loaded.items() if not isinstance(value, torch.Tensor)]
    if foreign:
        raise ValueError(f"{name} holds entries that are no tensors: {_shown(foreign)}; save the state dict alone")
    broken = [key for key, value in loaded.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise ValueError(f"{name} holds NaN or Inf in: {_shown(broken)}; take another checkpoint")
    return dict(loaded)


def load_published(module: torch.nn.Module, entry: ArchitectureEntry, state_dict: Mapping[str, torch.Tensor]) -> None:
    """Copy a checkpoint into a network: as published, or with the network's own names (`gdi weights convert`).

    Raises:
        EngineDeserializeError: as `load_strictly`.
    """
    is_own_layout = state_dict.keys() == module.state_dict().keys()
    load_strictly(module, state_dict if is_own_layout else entry.convert(state_dict), entry.name)


def load_strictly(module: torch.nn.Module, state_dict: Mapping[str, torch.Tensor], model_name: str) -> None:
    """Copy parameters into a network; every key and shape must fit.

    Raises:
        EngineDeserializeError: lists missing and unexpected keys and mismatched shapes.
    """
    try:
        module.load_state_dict(dict(state_dict), strict=True)
    except RuntimeError as error:
        own = module.state_dict()
        missing = sorted(own.keys() - state_dict.keys())
        unexpected = sorted(state_dict.keys() - own.keys())
        reshaped = [
            f"{key} {tuple(state_dict[key].shape)} instead of {tuple(own[key].shape)}"
            for key in sorted(own.keys() & state_dict.keys())
            if state_dict[key].shape != own[key].shape
        ]
        raise EngineDeserializeError(
            f"the checkpoint does not fit network '{model_name}'. Missing keys: {_shown(missing)}. "
            f"Unexpected keys: {_shown(unexpected)}. Other shapes: {_shown(reshaped)}. "
            "Name the network that the checkpoint was made for"
        ) from error


def _parse(content: bytes, suffix: str) -> Any:
    if suffix == ".safetensors":
        safetensors = require(
            "safetensors.torch", install=install_command("safetensors"), purpose="reading a .safetensors file"
        )
        return safetensors.load(content)
    torch = require("torch", install=install_command("torch"), purpose="reading a checkpoint")
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _shown(names: list[str]) -> str:
    if not names:
        return "none"
    rest = len(names) - _MOST_KEYS_SHOWN
    return ", ".join(names[:_MOST_KEYS_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
