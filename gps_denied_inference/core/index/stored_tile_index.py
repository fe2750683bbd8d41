"""Tile indexes on disk: arrays that are mapped into memory, and a description that names their space."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.index.tile_index import TileIndex

__all__ = ["INDEX_DESCRIPTION", "load_tile_index", "save_tile_index"]

INDEX_DESCRIPTION = "index.json"
_FORMAT = "gps_denied_inference tile index 1"
_ARRAYS: Mapping[str, type[np.generic]] = {
    "descriptors": np.float32,
    "positions_m": np.float64,
    "headings_deg": np.float64,
}


def save_tile_index(index: TileIndex, folder: Path) -> None:
    """Write an index into a folder of its own, which appears complete or not at all.

        index.json          format, space_id, dimension, count, and the SHA-256 of each array's file
        descriptors.npy     float32, (N, D), of length 1
        positions_m.npy     float64, (N, 2)
        headings_deg.npy    float64, (N,)

    Args:
        index: what to write.
        folder: that does not exist yet, or holds an index, which is replaced.

    Raises:
        InferenceError: the folder holds something else, or cannot be written.
    """
    arrays: Mapping[str, NDArray[Any]] = {
        "descriptors": index.descriptors,
        "positions_m": index.positions_m,
        "headings_deg": index.headings_deg,
    }
    if folder.exists() and not (folder / INDEX_DESCRIPTION).is_file():
        raise InferenceError(f"{folder} exists and holds no tile index; give a folder that does not exist yet")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            hashes = {name: _write(scratch / f"{name}.npy", values) for name, values in arrays.items()}
            description = {
                "format": _FORMAT,
                "space_id": index.space_id,
                "dimension": index.dimension,
                "count": len(index),
                "sha256": hashes,
            }
            (scratch / INDEX_DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
            scratch.chmod(0o755)
            shutil.rmtree(folder, ignore_errors=True)
            scratch.rename(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise InferenceError(
            f"cannot write the tile index {folder} ({error.strerror}); make room, or give a folder that can be written"
        ) from error


def load_tile_index(folder: Path) -> TileIndex:
    """Read an index. Its descriptors stay in the file, mapped into memory, after their hash was compared.

    Raises:
        InferenceError: it is missing, damaged, or of another format.
    """
    path = folder / INDEX_DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        if description["format"] != _FORMAT:
            raise ValueError(f"its format is {description['format']!r}, this version reads {_FORMAT!r}")
        arrays = {name: _read(folder / f"{name}.npy", dtype, description["sha256"]) for name, dtype in _ARRAYS.items()}
        index = TileIndex.of_unit_descriptors(str(description["space_id"]), **arrays)
        if (index.dimension, len(index)) != (description["dimension"], description["count"]):
            raise ValueError(
                f"it holds {len(index)} descriptors of {index.dimension} numbers, its description says "
                f"{description['count']} of {description['dimension']}"
            )
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InferenceError(
            f"{folder} cannot be read as a tile index ({type(error).__name__}: {error}); embed the map again"
        ) from error
    return index


def _write(path: Path, values: NDArray[Any]) -> str:
    with path.open("wb") as file:
        np.save(file, values, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    return _sha256(path)


def _read(path: Path, dtype: type[np.generic], hashes: Mapping[str, str]) -> NDArray[Any]:
    found = _sha256(path)
    if found != hashes[path.stem]:
        raise ValueError(f"{path.name} has SHA-256 {found}, {INDEX_DESCRIPTION} says {hashes[path.stem]}")
    values: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    if values.dtype != dtype:
        raise ValueError(f"{path.name} holds {values.dtype}, not {np.dtype(dtype)}")
    return values


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
