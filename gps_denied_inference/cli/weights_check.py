"""Weights, compared with what was published and with the network that they are for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from gps_denied_inference.core.architectures import ArchitectureEntry, locate_weights
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
    UNKNOWN = "fits the network; no published SHA-256 is known"
    OTHER = "fits the network, but is not the published file"
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


def check_weights(entry: ArchitectureEntry, weights_dir: Path | None, *, is_required: bool) -> WeightsCheck:
    """Find, hash and load the weights of a network.

    Args:
        entry: the network.
        weights_dir: folder searched first, or None.
        is_required: missing weights are not acceptable.
    """
    try:
        path = locate_weights(entry.spec, entry.name, weights_dir)
    except EngineBuildError as error:
        verdict = Verdict.MISSING
        return WeightsCheck(entry.name, verdict, None, "", str(error), not is_required)
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        count = len(_loaded(entry, content, path))
    except (EngineError, RuntimeNotAvailableError) as error:
        return WeightsCheck(entry.name, Verdict.REFUSED, path, sha256, str(error), False)
    expected = entry.spec.weights.sha256 if entry.spec.weights else ""
    reason = f"{path}: {count} tensors, SHA-256 {sha256}"
    if not sha256.startswith(expected):
        reason += f", published is {expected}{'' if len(expected) == len(sha256) else '…'}"
        return WeightsCheck(entry.name, Verdict.OTHER, path, sha256, reason, False)
    verdict = Verdict.PUBLISHED if expected else Verdict.UNKNOWN
    return WeightsCheck(entry.name, verdict, path, sha256, reason, True)


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
