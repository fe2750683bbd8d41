"""Fast DDS's shared-memory files, which processes that die leave behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["segments_removed"]

_FOLDER = Path("/dev/shm")


@contextmanager
def segments_removed() -> Iterator[None]:
    """Remove, at the end, the files of ours that appeared meanwhile and that no living process maps."""
    before = _segments()
    try:
        yield
    finally:
        appeared = _segments() - before
        if appeared:
            mapped = _mapped()
            for path in appeared:
                # A segment's lock file and its semaphore are in use as long as the segment is.
                segment = path.name.removeprefix("sem.").removesuffix("_el").removesuffix("_mutex")
                if segment not in mapped:
                    path.unlink(missing_ok=True)


def _segments() -> set[Path]:
    found = set()
    for path in [*_FOLDER.glob("fastrtps_*"), *_FOLDER.glob("sem.fastrtps_*")]:
        try:
            if path.stat().st_uid == os.getuid():
                found.add(path)
        except OSError:
            continue  # gone meanwhile
    return found


def _mapped() -> str:
    """The memory maps of every process that we may look at, this one's included."""
    texts = []
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            texts.append(maps.read_text())
        except OSError:
            continue  # the process ended, or belongs to somebody else
    return "\n".join(texts)
