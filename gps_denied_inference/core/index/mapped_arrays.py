"""Files of arrays that are mapped into memory, with a header that says what they are and what their hashes are."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.errors import InferenceError

__all__ = ["ArrayShapes", "MappedArrays", "read_arrays", "write_arrays"]

_LENGTH_DIGITS = 12
_MOST_HEADER_BYTES = 1024 * 1024
_ALIGNMENT = 4096
"""Arrays begin on pages: two of them share none."""

ArrayShapes = Mapping[str, tuple[type[np.generic], tuple[int, ...]]]
"""Type and shape of each array."""


@dataclass(frozen=True, slots=True, eq=False)
class MappedArrays:
    """What a file holds.

    Attributes:
        header: as it was written, less what describes the arrays.
        arrays: mapped into memory, read only.
        sha256: of the content: of the header, which holds the arrays' hashes; lower-case hex.
    """

    header: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]
    sha256: str


def write_arrays(path: Path, kind: str, header: Mapping[str, object], arrays: Mapping[str, NDArray[Any]]) -> str:
    """Write a file, which appears complete or not at all. Equal content gives equal files.

    The file is a line with `kind`, the length of the header in 12 digits and a line break, the header (JSON, with the
    SHA-256 and offset of each array), and the arrays, little-endian, row-major, each on a page of its own.

    Args:
        path: of a file that does not exist yet, or is of this kind, and is then replaced.
        kind: name and version of the format.
        header: what the arrays are.
        arrays: by name.

    Returns:
        The SHA-256 of the content.

    Raises:
        InferenceError: the path holds something else, or cannot be written.
    """
    magic = f"{kind}\n".encode()
    if path.exists() and not _begins_with(path, magic):
        raise InferenceError(f"{path} exists and is no {kind}; give the name of a file that does not exist yet")
    contiguous = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    described = _described(header, contiguous)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, scratch = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(magic + f"{len(described):0{_LENGTH_DIGITS}d}\n".encode() + described)
                for values in contiguous.values():
                    file.write(b"\0" * (-file.tell() % _ALIGNMENT))
                    file.write(values.data.cast("B"))
                file.flush()
                os.fsync(file.fileno())
            Path(scratch).chmod(0o644)
            Path(scratch).rename(path)
        finally:
            Path(scratch).unlink(missing_ok=True)
    except OSError as error:
        raise InferenceError(
            f"cannot write {path} ({error.strerror}); make room, or give a file that can be written"
        ) from error
    return hashlib.sha256(described).hexdigest()


def read_arrays(path: Path, kind: str, shapes: Callable[[Mapping[str, Any]], ArrayShapes]) -> MappedArrays:
    """Map a file's arrays into memory, after their hashes were compared.

    Args:
        path: of the file.
        kind: as it was written.
        shapes: tells the arrays by the header.

    Raises:
        OSError, ValueError, KeyError, TypeError, RecursionError: it is missing, damaged, or of another format.
    """
    with path.open("rb") as file:
        text, start = _read_header(file, f"{kind}\n".encode())
        header = json.loads(text)
        arrays = {
            name: _read(file, start, dtype, shape, header["arrays"][name], name)
            for name, (dtype, shape) in shapes(header).items()
        }
    return MappedArrays(header, arrays, hashlib.sha256(text).hexdigest())


def _described(header: Mapping[str, object], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    described: dict[str, dict[str, object]] = {}
    offset = 0  # from the first page after the header, whose length depends on the digits of the offsets
    for name, values in arrays.items():
        described[name] = {"offset": offset, "sha256": hashlib.sha256(values.data.cast("B")).hexdigest()}
        offset += _on_page(values.nbytes)
    return json.dumps({**header, "arrays": described}, indent=1).encode()


def _read_header(file: BinaryIO, magic: bytes) -> tuple[bytes, int]:
    """The header and the offset of the first array."""
    if file.read(len(magic)) != magic:
        raise ValueError(f"it does not begin with {magic.decode().strip()!r}")
    length = int(file.read(_LENGTH_DIGITS + 1))
    if length > _MOST_HEADER_BYTES:
        raise ValueError(f"its header claims {length} bytes")
    return file.read(length), _on_page(file.tell())


def _read(
    file: BinaryIO,
    start: int,
    dtype: type[np.generic],
    shape: tuple[int, ...],
    described: Mapping[str, Any],
    name: str,
) -> NDArray[Any]:
    if min(shape) < 1:
        raise ValueError(f"its header claims the shape {shape} for {name}")
    values: NDArray[Any] = np.memmap(file, dtype=dtype, mode="r", offset=start + int(described["offset"]), shape=shape)
    found = hashlib.sha256(values.data.cast("B")).hexdigest()
    if found != described["sha256"]:
        raise ValueError(f"{name} has SHA-256 {found}, the header says {described['sha256']}")
    return values


def _begins_with(path: Path, magic: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(magic)) == magic
    except OSError:
        return False


def _on_page(offset: int) -> int:
    return offset + -offset % _ALIGNMENT
