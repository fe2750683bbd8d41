"""Files that a build leaves behind: whole, or not there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from gps_denied_inference.core.errors import EngineBuildError

__all__ = ["write_whole"]


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears complete, replacing an older one, or not at all.

    Raises:
        EngineBuildError: the folder cannot be written, or the disk is full.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        temporary = None
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise EngineBuildError(
            f"cannot write {path} ({error.strerror or error}); make room there, or give a folder that can be written"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
