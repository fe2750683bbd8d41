"""Tile indexes on disk: one file whose arrays are mapped into memory, with a header that names their space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.index.mapped_arrays import ArrayShapes, read_arrays, write_arrays
from gps_denied_inference.core.index.tile_index import TileIndex, TileIndexDetails

__all__ = ["load_tile_index", "save_tile_index"]

_KIND = "gps_denied_inference tile index 2"


def save_tile_index(index: TileIndex, path: Path) -> str:
    """Write an index into a file, which appears complete or not at all. Equal indexes give equal files.

    The header says space_id, dimension, count and details; the arrays are descriptors float32 (N, D) of length 1,
    positions_m float64 (N, 2), headings_deg float64 (N,).

    Args:
        index: what to write.
        path: of a file that does not exist yet, or is an index, which is replaced.

    Returns:
        The SHA-256 of the content.

    Raises:
        InferenceError: the path holds something else, or cannot be written.
    """
    header: dict[str, object] = {
        "space_id": index.space_id,
        "dimension": index.dimension,
        "count": len(index),
        "details": asdict(index.details),
    }
    arrays: dict[str, NDArray[Any]] = {
        "descriptors": index.descriptors.astype(np.float32, copy=False),
        "positions_m": index.positions_m.astype(np.float64, copy=False),
        "headings_deg": index.headings_deg.astype(np.float64, copy=False),
    }
    return write_arrays(path, _KIND, header, arrays)


def load_tile_index(path: Path) -> TileIndex:
    """Read an index. Its arrays stay in the file, mapped into memory, after their hashes were compared.

    Raises:
        InferenceError: it is missing, damaged, or of another format.
    """
    try:
        mapped = read_arrays(path, _KIND, _shapes)
        details = dict(mapped.header["details"])
        details["maps"] = tuple((str(name), str(sha256)) for name, sha256 in details["maps"])
        return TileIndex.of_unit_descriptors(
            str(mapped.header["space_id"]),
            **mapped.arrays,
            details=TileIndexDetails(**details),
            sha256=mapped.sha256,
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError, InferenceError) as error:
        raise InferenceError(
            f"{path} cannot be read as a tile index ({type(error).__name__}: {error}); build it again with "
            "'gdi index build'"
        ) from error


def _shapes(header: Mapping[str, Any]) -> ArrayShapes:
    count, dimension = int(header["count"]), int(header["dimension"])
    return {
        "descriptors": (np.float32, (count, dimension)),
        "positions_m": (np.float64, (count, 2)),
        "headings_deg": (np.float64, (count,)),
    }
