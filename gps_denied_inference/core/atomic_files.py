"""Files that are there whole or not at all, whenever the writer dies."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gps_denied_inference.core.errors import EngineBuildError

__all__ = [
    "TEMPORARY_PREFIX",
    "StagedFile",
    "file_sha256",
    "open_regular",
    "remove_temporaries",
    "staged",
    "sync_folder",
    "temporary_beside",
    "write_atomically",
]

TEMPORARY_PREFIX = ".writing-"
_BLOCK_BYTES = 1024 * 1024


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, lower-case hex; streamed. Raises OSError."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_regular(path: Path) -> io.BufferedReader:
    """Open a file to be read, but no pipe or device, which may never end. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:
        raise OSError(errno.EINVAL, "not a path", str(path)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


@contextlib.contextmanager
def temporary_beside(folder: Path) -> Iterator[Path]:
    """Yield the path of a file in the folder that does not exist yet, and remove it afterwards.

    Raises:
        EngineBuildError: the disk is full, or the folder cannot be written.
    """
    path = folder / f"{TEMPORARY_PREFIX}{os.getpid()}-{os.urandom(6).hex()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield path
    except OSError as error:
        raise EngineBuildError(
            f"cannot write into {folder} ({error.strerror or error}); make room there, or give a "
            "folder that can be written"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A file that is on the disk whole, under a temporary name.

    Attributes:
        path: the name that it gets.
        temporary: the name that it has.
        sha256, size_bytes: of its bytes.
    """

    path: Path
    temporary: Path
    sha256: str
    size_bytes: int

    def publish(self) -> None:
        """Give it its name; needs no room on the disk. Lasting after `sync_folder`. Raises OSError."""
        self.temporary.replace(self.path)


@contextlib.contextmanager
def staged(path: Path, content: bytes | Path) -> Iterator[StagedFile]:
    """Write a file under a temporary name; what is not published is removed afterwards.

    Args:
        path: the name that it gets when it is published; what has it then is replaced.
        content: bytes, or a file to be copied.

    Raises:
        EngineBuildError: the disk is full, or the folder cannot be written.
    """
    with temporary_beside(path.parent) as temporary:
        digest = hashlib.sha256()
        size = 0
        with temporary.open("xb") as target:
            for block in _blocks(content):
                digest.update(block)
                size += len(block)
                target.write(block)
            target.flush()
            os.fsync(target.fileno())
        yield StagedFile(path, temporary, digest.hexdigest(), size)


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
    with staged(path, content) as file:
        file.publish()
        sync_folder(path.parent)
    return file.sha256


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


def sync_folder(folder: Path) -> None:
    """Make renames in a folder outlast a loss of power. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
