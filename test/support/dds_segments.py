"""Shared-memory segments that Fast DDS leaves behind when a process dies."""

from __future__ import annotations

from pathlib import Path

__all__ = ["fast_dds_segments", "remove_abandoned"]

_SHARED_MEMORY = Path("/dev/shm")


def fast_dds_segments() -> set[Path]:
    """Return the segments and semaphores of Fast DDS on this machine."""
    return set(_SHARED_MEMORY.glob("*fastrtps_*")) | set(_SHARED_MEMORY.glob("*fast_datasharing*"))


def remove_abandoned(candidates: set[Path]) -> None:
    """Remove those of `candidates` that no living process maps."""
    mapped = ""
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            mapped += maps.read_text()
        except OSError:
            continue  # the process ended, or belongs to somebody else
    for path in candidates:
        # A segment's lock file (never mapped) and its semaphore live as long as the segment: without its lock file a
        # living process is taken for a dead one, and its messages stop.
        segment = path.name.removeprefix("sem.").removesuffix("_mutex").removesuffix("_el")
        if segment not in mapped:
            path.unlink(missing_ok=True)
