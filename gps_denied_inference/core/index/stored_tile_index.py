"""Tile indexes on disk: one file whose arrays are mapped into memory, with a header that names their space."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.index.tile_index import TileIndex, TileIndexDetails

__all__ = ["load_tile_index", "save_tile_index"]

_MAGIC = b"gps_denied_inference tile index 2\n"
_LENGTH_DIGITS = 12
_MOST_HEADER_BYTES = 1024 * 1024
_ALIGNMENT = 4096
"""Arrays begin on pages: two of them share none."""
_ARRAYS: Mapping[str, type[np.generic]] = {
    "descriptors": np.float32,
    "positions_m": np.float64,
    "headings_deg": np.float64,
}


def save_tile_index(index: TileIndex, path: Path) -> str:
    """Write an index into a file, which appears complete or not at all. Equal indexes give equal files.

    The file is a line that names the format, the length of the header in 12 digits and a line break, the header (JSON:
    space_id, dimension, count, details, and for each array its SHA-256 and offset), and the arrays, little-endian,
    row-major, each on a page of its own: descriptors float32 (N, D) of length 1, positions_m float64 (N, 2),
    headings_deg float64 (N,).

    Args:
        index: what to write.
        path: of a file that does not exist yet, or is an index, which is replaced.

    Returns:
        The SHA-256 of the content: of the header, which holds those of the arrays.

    Raises:
        InferenceError: the path holds something else, or cannot be written.
    """
    if path.exists() and not _is_index(path):
        raise InferenceError(f"{path} exists and is no tile index; give the name of a file that does not exist yet")
    arrays = {name: np.ascontiguousarray(getattr(index, name), dtype) for name, dtype in _ARRAYS.items()}
    header = _header(index, arrays)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, scratch = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(_MAGIC + f"{len(header):0{_LENGTH_DIGITS}d}\n".encode() + header)
                for values in arrays.values():
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
            f"cannot write the tile index {path} ({error.strerror}); make room, or give a file that can be written"
        ) from error
    return hashlib.sha256(header).hexdigest()


def load_tile_index(path: Path) -> TileIndex:
    """Read an index. Its arrays stay in the file, mapped into memory, after their hashes were compared.

    Raises:
        InferenceError: it is missing, damaged, or of another format.
    """
    try:
        with path.open("rb") as file:
            header_bytes, start = _read_header(file)
            header = json.loads(header_bytes)
            count, dimension = int(header["count"]), int(header["dimension"])
            if count < 1 or dimension < 1:
                raise ValueError(f"its header claims {count} descriptors of {dimension} numbers")
            shapes = {"descriptors": (count, dimension), "positions_m": (count, 2), "headings_deg": (count,)}
            arrays = {
                name: _read(path, file, start, shapes[name], np.dtype(dtype), header["arrays"][name], name)
                for name, dtype in _ARRAYS.items()
            }
        details = dict(header["details"])
        details["maps"] = tuple((str(name), str(sha256)) for name, sha256 in details["maps"])
        return TileIndex.of_unit_descriptors(
            str(header["space_id"]),
            **arrays,
            details=TileIndexDetails(**details),
            sha256=hashlib.sha256(header_bytes).hexdigest(),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError, InferenceError) as error:
        raise InferenceError(
            f"{path} cannot be read as a tile index ({type(error).__name__}: {error}); build it again with "
            "'gdi index build'"
        ) from error


def _header(index: TileIndex, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    described: dict[str, dict[str, object]] = {}
    offset = 0  # from the first page after the header, whose length depends on the digits of the offsets
    for name, values in arrays.items():
        described[name] = {"offset": offset, "sha256": hashlib.sha256(values.data.cast("B")).hexdigest()}
        offset += _on_page(values.nbytes)
    return json.dumps(
        {
            "space_id": index.space_id,
            "dimension": index.dimension,
            "count": len(index),
            "details": asdict(index.details),
            "arrays": described,
        },
        indent=1,
    ).encode()


def _read_header(file: BinaryIO) -> tuple[bytes, int]:
    """The header and the offset of the first array."""
    if file.read(len(_MAGIC)) != _MAGIC:
        raise ValueError(f"it does not begin with {_MAGIC.decode().strip()!r}")
    length = int(file.read(_LENGTH_DIGITS + 1))
    if length > _MOST_HEADER_BYTES:
        raise ValueError(f"its header claims {length} bytes")
    return file.read(length), _on_page(file.tell())


def _read(
    path: Path,
    file: BinaryIO,
    start: int,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    described: Mapping[str, Any],
    name: str,
) -> NDArray[Any]:
    offset = start + int(described["offset"])
    values: NDArray[Any] = np.memmap(file, dtype=dtype, mode="r", offset=offset, shape=shape)
    found = hashlib.sha256(values.data.cast("B")).hexdigest()
    if found != described["sha256"]:
        raise ValueError(f"{name} in {path.name} has SHA-256 {found}, its header says {described['sha256']}")
    return values


def _is_index(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def _on_page(offset: int) -> int:
    return offset + -offset % _ALIGNMENT
