"""Bytes of an engine file: read once, so that what was hashed is what is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from gps_denied_inference.core.contracts import BuildConfig, EngineCacheEntry, RuntimeLabel
from gps_denied_inference.core.errors import (
    EngineBuildError,
    EngineDeserializeError,
    EngineHashMismatchError,
)

__all__ = ["entry_for", "model_name_of", "read_checked", "read_source"]


def read_source(path: Path) -> bytes:
    """Read a file that is to become an engine.

    Raises:
        EngineBuildError: it is missing or unreadable.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise EngineBuildError(
            f"cannot read the model file {path} ({error.strerror}); give the path of an existing file"
        ) from error


def read_checked(entry: EngineCacheEntry) -> bytes:
    """Read the file of an entry.

    Raises:
        EngineDeserializeError: it is missing or unreadable.
        EngineHashMismatchError: its bytes are not those of the entry.
    """
    try:
        content = entry.path.read_bytes()
    except OSError as error:
        raise EngineDeserializeError(
            f"cannot read the engine file {entry.path} ({error.strerror}); build the engine again"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != entry.sha256.lower():
        raise EngineHashMismatchError(
            f"{entry.path} has SHA-256 {found}, its entry says {entry.sha256}; the file was changed since it was "
            "checked: build the engine again"
        )
    return content


def entry_for(path: Path, content: bytes, build_config: BuildConfig, label: RuntimeLabel) -> EngineCacheEntry:
    """Describe a model file that needs no compilation; its stem names the network unless `extras` does."""
    extras: Mapping[str, str] = MappingProxyType(
        {"model_name": path.stem, **build_config.extras, "runtime": label.value}
    )
    return EngineCacheEntry(
        path=path, sha256=hashlib.sha256(content).hexdigest(), precision=build_config.precision, extras=extras
    )


def model_name_of(entry: EngineCacheEntry) -> str:
    """Name of the network that an entry runs.

    Raises:
        EngineDeserializeError: the entry does not say.
    """
    try:
        return entry.extras["model_name"]
    except KeyError:
        raise EngineDeserializeError(
            f"the entry of {entry.path} has no extras['model_name']; make it with compile_engine"
        ) from None
