"""Weights, compared with what was published and with the network that they are for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from gps_denied_inference.core.architectures import ArchitectureEntry, find_weights, locate_weights
from gps_denied_inference.core.architectures.install_commands import install_command
from gps_denied_inference.core.atomic_files import write_atomically
from gps_denied_inference.core.errors import EngineBuildError, EngineError, RuntimeNotAvailableError
from gps_denied_inference.core.optional import require
from gps_denied_inference.core.runtime.engine_file import read_source
from gps_denied_inference.core.runtime.torch_checkpoint import load_published, state_dict_from_bytes

if TYPE_CHECKING:
    import torch

__all__ = ["Verdict", "WeightsCheck", "check_weights", "convert_weights"]


class Verdict(Enum):
    """What was found."""

    PUBLISHED = "published weights"
    NAMED = "fits the network, and has the SHA-256 that you named"
    UNKNOWN = "fits the network; no published SHA-256 is known"
    OTHER = "fits the network, but is not the expected file"
    MISSING = "missing"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class WeightsCheck:
    """The weights of one network.

    Attributes:
        model: its name.
        verdict: what was found.
        path: of the checkpoint; None when there is none.
        sha256: of the checkpoint; empty when there is none.
        reason: behind the verdict.
        is_acceptable: nothing is wrong with it, or it is missing and was not asked for.
    """

    model: str
    verdict: Verdict
    path: Path | None
    sha256: str
    reason: str
    is_acceptable: bool


def check_weights(
    entry: ArchitectureEntry, weights_dir: Path | None, *, is_required: bool, named_sha256: str = ""
) -> WeightsCheck:
    """Find, hash and load the weights of a network.

    Args:
        entry: the network.
        weights_dir: folder searched first, or None.
        is_required: missing weights are not acceptable.
        named_sha256: what the user expects instead of the published file, lower-case hex; empty: the published one.
    """
    path = find_weights(entry.spec, entry.name, weights_dir)
    if path is None:
        try:
            locate_weights(entry.spec, entry.name, weights_dir)
        except EngineBuildError as error:
            return WeightsCheck(entry.name, Verdict.MISSING, None, "", str(error), not is_required)
    assert path is not None
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        count = len(_loaded(entry, content, path))
    except (EngineError, RuntimeNotAvailableError) as error:
        return WeightsCheck(entry.name, Verdict.REFUSED, path, sha256, str(error), False)
    published = entry.spec.weights.sha256 if entry.spec.weights else ""
    expected = named_sha256 or published
    reason = f"{path}: {count} tensors, SHA-256 {sha256}"
    if not sha256.startswith(expected):
        is_in_folder = path.parent == weights_dir
        reason += f", {_difference(entry, named_sha256, is_in_folder=is_in_folder)}"
        return WeightsCheck(entry.name, Verdict.OTHER, path, sha256, reason, False)
    if not expected:
        verdict = Verdict.UNKNOWN
    else:
        verdict = Verdict.PUBLISHED if published and sha256.startswith(published) else Verdict.NAMED
    return WeightsCheck(entry.name, verdict, path, sha256, reason, True)


def _difference(entry: ArchitectureEntry, named_sha256: str, *, is_in_folder: bool) -> str:
    """What was expected, and what to do."""
    if named_sha256:
        return f"you named {named_sha256}: put the file of that SHA-256 there, or name this one with --expect"
    origin = entry.spec.weights
    assert origin is not None
    published = origin.sha256 if len(origin.sha256) == 64 else f"{origin.sha256}…"
    sources = f" ({', '.join(origin.pinned_by)})" if origin.pinned_by else ""
    if not is_in_folder:
        return f"published is {published}{sources}: install it again with {origin.install}"
    remedy = f"remove it to take that of {origin.distribution}" if origin.distribution else f"{origin.install} again"
    return (
        f"published is {published}{sources}: {remedy}; if the file is meant to be another (trained by you, or written "
        f"by 'gdi weights convert'), name its SHA-256: --expect {entry.name}=SHA256"
    )


def convert_weights(entry: ArchitectureEntry, source: Path, destination: Path) -> tuple[str, int]:
    """Write a checkpoint as safetensors with the network's own names.

    Args:
        entry: the network.
        source: checkpoint, as published.
        destination: file to write; appears complete or not at all.

    Returns:
        SHA-256 of the file and the number of its tensors.

    Raises:
        EngineBuildError: the source is missing, malformed or another network's, or the file cannot be written.
        RuntimeNotAvailableError: torch, safetensors or a package of the network is absent.
    """
    if destination.suffix != ".safetensors":
        raise EngineBuildError(f"{destination} does not end in .safetensors, the only format that is written")
    tensors = _loaded(entry, read_source(source), source)
    safetensors = require(
        "safetensors.torch", install=install_command("safetensors"), purpose="writing a .safetensors file"
    )
    content: bytes = safetensors.save({name: value.contiguous() for name, value in tensors.items()})
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(destination, content)
    except OSError as error:
        raise EngineBuildError(
            f"cannot write {destination} ({error.strerror}); choose a folder that can be written"
        ) from error
    return hashlib.sha256(content).hexdigest(), len(tensors)


def _loaded(entry: ArchitectureEntry, content: bytes, path: Path) -> Mapping[str, torch.Tensor]:
    """The network's tensors after a strict load."""
    try:
        state_dict = state_dict_from_bytes(content, path.suffix, str(path))
    except ValueError as error:
        raise EngineBuildError(str(error)) from (error.__cause__ or error)
    module = entry.build()
    load_published(module, entry, state_dict)
    tensors: Mapping[str, torch.Tensor] = module.state_dict()
    return tensors
