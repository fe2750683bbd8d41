"""Exact cosine search over the tiles of a map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.errors import InferenceError

__all__ = ["TileIndex", "TileIndexDetails", "TileMatch"]

_Number = TypeVar("_Number", bound=np.generic)


@dataclass(frozen=True, slots=True)
class TileMatch:
    """A tile that was found.

    Attributes:
        tile: its row in the index.
        x_m, y_m: its centre, map frame.
        heading_deg: direction of its top edge, clockwise from north.
        similarity: cosine, -1..1.
    """

    tile: int
    x_m: float
    y_m: float
    heading_deg: float
    similarity: float


@dataclass(frozen=True, slots=True)
class TileIndexDetails:
    """What an index was made of.

    Attributes:
        model, weights_sha256: of the network that embedded the tiles; empty when not known.
        crs: coordinate system of the positions, e.g. `EPSG:32612`; empty when the map names none.
        side_m: shorter side of a tile on the ground; 0 when not known.
        aspect: width of a tile by its height.
        maps: name of each map's file, and its SHA-256.
    """

    model: str = ""
    weights_sha256: str = ""
    crs: str = ""
    side_m: float = 0.0
    aspect: float = 1.0
    maps: tuple[tuple[str, str], ...] = ()


class TileIndex:
    """Descriptors of tiles with their positions, in memory.

    Exact search: one matrix product a query, 0.05 ms for 2,000 tiles of 448 dimensions on one core, 8 ms for 100,000
    (docs/measurements/2026-11-24-tile-index.md, also for what an approximate search would win and lose).

    Attributes:
        space_id: of every descriptor in the index.
        details: what it was made of.
        sha256: of its content, lower-case hex; empty for one that did not come from a file.

    Args:
        space_id: of every descriptor in the index.
        descriptors: float32, shape (N, D), any length; normalised here. Copied.
        positions_m: shape (N, 2), centres (x, y) in the map frame. Copied.
        headings_deg: shape (N,), direction of each tile's top edge. Copied.
        details: what it is made of.

    Raises:
        InferenceError: the shapes do not belong together, or a descriptor is zero or not finite.
    """

    def __init__(
        self,
        space_id: str,
        descriptors: NDArray[np.float32],
        positions_m: NDArray[np.float64],
        headings_deg: NDArray[np.float64],
        details: TileIndexDetails | None = None,
    ) -> None:
        _require_shapes(descriptors, positions_m, headings_deg)
        lengths = np.linalg.norm(descriptors, axis=1, keepdims=True)
        if not np.all(np.isfinite(lengths)) or np.any(lengths == 0):
            raise InferenceError("a tile's descriptor is zero or not finite; the network that made it is broken")
        self.space_id = space_id
        self.details = details or TileIndexDetails()
        self.sha256 = ""
        self._descriptors = np.asarray(descriptors / lengths, np.float32)
        self._positions_m = np.array(positions_m, np.float64)
        self._headings_deg = np.array(headings_deg, np.float64)

    @classmethod
    def of_unit_descriptors(
        cls,
        space_id: str,
        descriptors: NDArray[np.float32],
        positions_m: NDArray[np.float64],
        headings_deg: NDArray[np.float64],
        *,
        details: TileIndexDetails | None = None,
        sha256: str = "",
    ) -> TileIndex:
        """Make an index of arrays that another one gave; they are used as they are, not copied and not looked at.

        Args:
            space_id: of every descriptor.
            descriptors: float32, shape (N, D), of length 1; may be mapped from a file.
            positions_m: shape (N, 2).
            headings_deg: shape (N,).
            details: what it was made of.
            sha256: of its content.

        Raises:
            InferenceError: the shapes do not belong together.
        """
        _require_shapes(descriptors, positions_m, headings_deg)
        index = cls.__new__(cls)
        index.space_id = space_id
        index.details = details or TileIndexDetails()
        index.sha256 = sha256
        index._descriptors, index._positions_m, index._headings_deg = descriptors, positions_m, headings_deg
        return index

    @property
    def descriptors(self) -> NDArray[np.float32]:
        """Float32, shape (N, D), of length 1. The index's own: read only."""
        return _read_only(self._descriptors)

    @property
    def positions_m(self) -> NDArray[np.float64]:
        """Centres (x, y), map frame, shape (N, 2). The index's own: read only."""
        return _read_only(self._positions_m)

    @property
    def headings_deg(self) -> NDArray[np.float64]:
        """Direction of each tile's top edge, shape (N,). The index's own: read only."""
        return _read_only(self._headings_deg)

    def __len__(self) -> int:
        return int(self._descriptors.shape[0])

    @property
    def dimension(self) -> int:
        return int(self._descriptors.shape[1])

    def search(self, values: NDArray[np.float32], space_id: str, k: int = 1) -> list[TileMatch]:
        """Return the k most similar tiles, best first; all of them when there are fewer.

        Args:
            values: descriptor of a frame, shape (D,).
            space_id: of that descriptor.
            k: at least 1.

        Raises:
            InferenceError: the descriptor lives in another space, has another dimension, is zero or not finite, or
                `k` is below 1.
        """
        if space_id != self.space_id:
            raise InferenceError(
                f"the descriptor lives in space '{space_id}', the index in '{self.space_id}': they cannot be compared; "
                "embed the map and the frames with the same network, weights and preprocessing"
            )
        if values.shape != (self.dimension,):
            raise InferenceError(f"the descriptor has shape {values.shape}; the index holds ({self.dimension},)")
        if k < 1:
            raise InferenceError(f"k is {k}; ask for at least 1 tile")
        length = float(np.linalg.norm(values))
        if not np.isfinite(length) or length == 0:
            raise InferenceError("the descriptor is zero or not finite; it matches nothing")
        similarities = self._descriptors @ (values / np.float32(length))
        best = _best(similarities, k)
        return [
            TileMatch(
                tile=int(row),
                x_m=float(self._positions_m[row, 0]),
                y_m=float(self._positions_m[row, 1]),
                heading_deg=float(self._headings_deg[row]),
                similarity=float(similarities[row]),
            )
            for row in best
        ]


def _best(similarities: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """Rows of the k greatest, greatest first; of equal ones the first row first. Sorts only what may be among them."""
    rows = np.arange(len(similarities))
    if k < len(similarities):
        rows = np.flatnonzero(similarities >= np.partition(similarities, -k)[-k])
    return rows[np.argsort(-similarities[rows], kind="stable")][:k]


def _require_shapes(
    descriptors: NDArray[np.float32], positions_m: NDArray[np.float64], headings_deg: NDArray[np.float64]
) -> None:
    count = descriptors.shape[0] if descriptors.ndim == 2 else 0
    if count == 0 or positions_m.shape != (count, 2) or headings_deg.shape != (count,):
        raise InferenceError(
            f"a tile index needs shapes (N, D), (N, 2) and (N,) with N of at least 1; got {descriptors.shape}, "
            f"{positions_m.shape} and {headings_deg.shape}"
        )


def _read_only(values: NDArray[_Number]) -> NDArray[_Number]:
    view = values.view()
    view.flags.writeable = False
    return view
