"""Where a network's published weights lie on this computer."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from gps_denied_inference.core.architectures.registry import base_name
from gps_denied_inference.core.contracts import ArchitectureSpec, WeightsOrigin
from gps_denied_inference.core.errors import EngineBuildError

__all__ = ["find_weights", "locate_weights"]

_SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt")


def find_weights(spec: ArchitectureSpec, name: str, weights_dir: Path | None) -> Path | None:
    """Like `locate_weights`, but None when there is no checkpoint, and nothing is hashed."""
    name = base_name(name)
    if weights_dir is not None:
        for suffix in _SUFFIXES:
            candidate = weights_dir / f"{name}{suffix}"
            if candidate.is_file():
                return candidate
    return None if spec.weights is None else _path_in_distribution(spec.weights)


def locate_weights(spec: ArchitectureSpec, name: str, weights_dir: Path | None) -> Path:
    """Find the checkpoint of a network: the user's own folder first, then the installed distribution.

    The distribution's package is looked up, never imported: it may need packages that we don't.

    Args:
        spec: of the network; its `weights` name the distribution.
        name: of the network; `<weights_dir>/<name>.safetensors`, `.pt`, `.pth` or `.ckpt` is taken when it exists. The
            input size that a name may end with is left out: the weights are the same.
        weights_dir: the user's folder, or None.

    Raises:
        EngineBuildError: there is no checkpoint (says how to get it), or the distribution's file is not the pinned one.
    """
    path = find_weights(spec, name, weights_dir)
    if path is not None and path.parent == weights_dir:
        return path
    name = base_name(name)
    looked_in = f"no {name}{{{','.join(_SUFFIXES)}}} in {weights_dir}, and " if weights_dir is not None else ""
    origin = spec.weights
    if origin is None:
        raise EngineBuildError(
            f"{looked_in}no published weights are declared for '{name}'; put its checkpoint into weights_dir as "
            f"{name}.safetensors, or give its path"
        )
    if path is None and not origin.distribution:
        raise EngineBuildError(
            f"{looked_in}the weights of '{name}' are published at {origin.url}, not as a package; {origin.install}"
        )
    if path is None:
        raise EngineBuildError(
            f"{looked_in}the weights of '{name}' ({origin.distribution}) are not installed; "
            f"install them with: {origin.install}"
        )
    if origin.sha256:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if not found.startswith(origin.sha256):
            raise EngineBuildError(
                f"{path} has SHA-256 {found}, but {origin.distribution} ships {origin.sha256}; "
                f"install it again with: {origin.install}"
            )
    return path


def _path_in_distribution(origin: WeightsOrigin) -> Path | None:
    if not origin.module:
        return None
    module_spec = importlib.util.find_spec(origin.module)
    if module_spec is None:
        return None
    for folder in module_spec.submodule_search_locations or ():
        path = Path(folder) / origin.relative_path
        if path.is_file():
            return path
    return None
