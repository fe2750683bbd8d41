"""Reading single sysfs attributes, any of which may be absent, unreadable or odd."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

__all__ = ["read_integer", "read_text", "subfolders"]


def read_text(path: Path) -> str | None:
    """Content without surrounding white space; None where the attribute cannot be read.

    A powered-down rail answers with an error (EAGAIN, ENODATA, EIO), so does a core that is offline.
    """
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except (OSError, ValueError):
        return None


def read_integer(path: Path) -> int | None:
    """The attribute as a whole number; None where it is not one."""
    text = read_text(path)
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def subfolders(folder: Path, pattern: str) -> Iterator[Path]:
    """Entries of a class folder that match, by name; none where the folder is absent."""
    try:
        yield from sorted(folder.glob(pattern))
    except OSError:
        return
