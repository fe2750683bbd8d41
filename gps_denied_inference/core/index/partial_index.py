"""Descriptors that were made so far, kept on disk so that a build that was killed goes on where it stood."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.errors import InferenceError

__all__ = ["PartialIndex"]

_KEY_BYTES = 32
_SYNC_EVERY = 64


class PartialIndex:
    """A file of rows, appended one by one. A context manager.

    Begins anew when the file was made for another plan; a last row that is not whole is forgotten.

    Args:
        path: of the file.
        plan: everything that the rows depend on: maps, grid, network.
        dimension: numbers in a row.

    Raises:
        InferenceError: the file cannot be written.
    """

    def __init__(self, path: Path, plan: Mapping[str, object], dimension: int) -> None:
        self.path = path
        self._dimension = dimension
        key = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).digest()
        try:
            self._file = path.open("r+b" if path.exists() else "w+b")
            if self._file.read(_KEY_BYTES) != key:
                self._file.truncate(0)
                self._file.seek(0)
                self._file.write(key)
            size = self._file.seek(0, os.SEEK_END) - _KEY_BYTES
            self._count = size // self._row_bytes
            end = _KEY_BYTES + self._count * self._row_bytes
            self._file.truncate(end)
            self._file.seek(end)
        except OSError as error:
            raise self._refusal(error) from error

    @property
    def count(self) -> int:
        """Rows that are there."""
        return self._count

    def append(self, row: NDArray[np.float32]) -> None:
        """Add a row, shape (dimension,).

        Raises:
            InferenceError: it cannot be written.
        """
        try:
            self._file.write(np.ascontiguousarray(row, np.float32).tobytes())
            self._count += 1
            if self._count % _SYNC_EVERY == 0:
                self._file.flush()
                os.fsync(self._file.fileno())
        except OSError as error:
            raise self._refusal(error) from error

    def rows(self) -> NDArray[np.float32]:
        """Return all rows, float32, shape (count, dimension)."""
        self._file.flush()
        content = np.fromfile(self.path, np.float32, offset=_KEY_BYTES)
        return content.reshape(self._count, self._dimension)

    def remove(self) -> None:
        """Remove the file: the index is written."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    @property
    def _row_bytes(self) -> int:
        return 4 * self._dimension

    def _refusal(self, error: OSError) -> InferenceError:
        return InferenceError(
            f"cannot write {self.path} ({error.strerror}); make room, or give a folder that can be written"
        )

    def __enter__(self) -> PartialIndex:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
