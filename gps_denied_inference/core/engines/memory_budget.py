"""GPU memory that the engines of a process may take together; asked before anything is allocated."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from gps_denied_inference.core.errors import OutOfMemoryError

__all__ = ["MemoryBudget"]


class MemoryBudget:
    """Counts reservations. Thread-safe.

    Args:
        limit_bytes: sum that the reservations may not pass.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._residents: dict[str, int] = {}

    def reserve(self, engine_id: str, size_bytes: int) -> None:
        """Take a share.

        Args:
            engine_id: what it is for; a name that is not resident.
            size_bytes: at least 0.

        Raises:
            OutOfMemoryError: it does not fit beside the residents, which stay as they are; or the name is resident.
        """
        with self._lock:
            used = sum(self._residents.values())
            if engine_id in self._residents:
                raise OutOfMemoryError(f"engine '{engine_id}' holds GPU memory already; release it first")
            if size_bytes < 0 or used + size_bytes > self.limit_bytes:
                residents = ", ".join(f"{name}: {_mib(size)}" for name, size in self._residents.items()) or "none"
                raise OutOfMemoryError(
                    f"engine '{engine_id}' needs {_mib(size_bytes)} of GPU memory, of the budget of "
                    f"{_mib(self.limit_bytes)} {_mib(self.limit_bytes - used)} are left (resident: {residents}); raise "
                    "gpu_memory_budget_bytes, or load fewer or smaller engines"
                )
            self._residents[engine_id] = size_bytes

    def release(self, engine_id: str) -> None:
        """Give a share back; of a name that is not resident, nothing."""
        with self._lock:
            self._residents.pop(engine_id, None)

    def snapshot(self) -> Mapping[str, int]:
        """Return the residents and their shares, bytes."""
        with self._lock:
            return dict(self._residents)


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 1024**2:.1f} MiB"
