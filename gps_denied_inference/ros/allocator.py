"""glibc's allocator, set up for images."""

from __future__ import annotations

import ctypes
import os

__all__ = ["keep_large_buffers"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_MMAP_THRESHOLD_BYTES = 32 * 1024**2  # the most that glibc takes
_TRIM_THRESHOLD_BYTES = 256 * 1024**2
_CHOSEN_BY_USER = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def keep_large_buffers() -> bool:
    """Let freed image buffers stay with the process.

    By default glibc gives each back to the kernel, and the next frame pays for thousands of page faults: taking a 1080p
    frame takes several times as long (docs/performance.md, part a). Call it before the first large allocation.

    Returns:
        False where the user chose something else by a variable, and where the C library is not glibc.
    """
    if any(name in os.environ for name in _CHOSEN_BY_USER):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)) and bool(
        mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD_BYTES)
    )
