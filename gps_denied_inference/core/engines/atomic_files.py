"""Files that are there whole or not at all, whenever the writer dies."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from gps_denied_inference.core.errors import EngineBuildError

__all__ = ["TEMPORARY_PREFIX", "file_sha256", "remove_temporaries", "temporary_beside", "write_atomically"]

TEMPORARY_PREFIX = ".writing-"
_BLOCK_BYTES = 1024 * 1024


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, lower-case hex; streamed. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def temporary_beside(folder: Path) -> Iterator[Path]:
    """Yield the path of a file in the folder that does not exist yet, and remove it afterwards.

    Raises:
        EngineBuildError: the disk is full, or the folder cannot be written.
    """
    path = folder / f"{TEMPORARY_PREFIX}{os.getpid()}-{os.urandom(6).hex()}"
    try:
        yield path
    except OSError as error:
        raise EngineBuildError(
            f"cannot write into the engine store {folder} ({error.strerror or error}); make room there, or give a "
            "folder "
            "that can be written"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def write_atomically(path: Path, content: bytes | Path) -> str:
    """Write a file so that its name never shows half of it, not even after a loss of power.

    Args:
        path: of the file; replaced when it exists.
        content: bytes, or a file to be copied.

    Returns:
        SHA-256 of what was written, lower-case hex.

    Raises:
        EngineBuildError: the disk is full, or the folder cannot be written.
    """
    with temporary_beside(path.parent) as temporary:
        digest = hashlib.sha256()
        with temporary.open("xb") as target:
            for block in _blocks(content):
                digest.update(block)
                target.write(block)
            target.flush()
            os.fsync(target.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    return digest.hexdigest()


def remove_temporaries(folder: Path) -> None:
    """Remove what writers left that were killed. Only while no writer works."""
    for leftover in folder.glob(f"{TEMPORARY_PREFIX}*"):
        with contextlib.suppress(OSError):
            leftover.unlink()


def _blocks(content: bytes | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as source:
        while block := source.read(_BLOCK_BYTES):
            yield block


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
