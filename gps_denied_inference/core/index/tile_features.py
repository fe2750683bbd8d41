"""Local features of the tiles of an index, for matching images with them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import LocalFeatures
from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.index.mapped_arrays import ArrayShapes, read_arrays, write_arrays

__all__ = ["TileFeatures", "load_tile_features", "save_tile_features", "tile_frame_id", "tile_of_frame_id"]

_KIND = "gps_denied_inference tile features 1"
_FRAME_ID = re.compile(r"tile/(?P<index>[0-9a-f]{64})/(?P<row>\d+)")


def tile_frame_id(index_sha256: str, tile: int) -> str:
    """Name a tile in a message's header, so that a record says which picture of which map was meant.

    Returns:
        `tile/SHA-256 of the index's content/row`.
    """
    return f"tile/{index_sha256}/{tile}"


def tile_of_frame_id(frame_id: str) -> tuple[str, int]:
    """Return the index's SHA-256 and the row that `tile_frame_id` wrote.

    Raises:
        InferenceError: it names no tile.
    """
    match = _FRAME_ID.fullmatch(frame_id)
    if match is None:
        raise InferenceError(f"the frame_id '{frame_id}' names no tile; expected tile/SHA-256/ROW")
    return match["index"], int(match["row"])


@dataclass(frozen=True, slots=True, eq=False)
class TileFeatures:
    """Keypoints of every tile, padded to one number.

    Attributes:
        index_sha256: content of the index whose rows these are.
        space_id: of the local descriptors.
        model: the network that made them.
        image_height, image_width: of a tile's picture, pixels.
        meters_per_pixel: of that picture, on the ground.
        counts: int32, (N,), keypoints of each tile.
        keypoints_px: float32, (N, K, 2), pixels of the tile's picture, centres at integers.
        scores: float32, (N, K), descending.
        descriptors: float16, (N, K, D): what rounding takes is less than what light does.
        sha256: of the content; empty for one that did not come from a file.
    """

    index_sha256: str
    space_id: str
    model: str
    image_height: int
    image_width: int
    meters_per_pixel: float
    counts: NDArray[np.int32]
    keypoints_px: NDArray[np.float32]
    scores: NDArray[np.float32]
    descriptors: NDArray[np.float16]
    sha256: str = ""

    def __len__(self) -> int:
        return int(self.counts.shape[0])

    @classmethod
    def of_tiles(
        cls,
        tiles: Sequence[LocalFeatures],
        most_keypoints: int,
        *,
        index_sha256: str,
        space_id: str,
        model: str,
        meters_per_pixel: float,
    ) -> TileFeatures:
        """Pad the features of all tiles, in the order of the index; of longer ones the best are kept.

        Raises:
            InferenceError: there is none, or their pictures differ in size.
        """
        sizes = {(tile.image_height, tile.image_width, tile.dimension) for tile in tiles}
        if len(sizes) != 1:
            raise InferenceError(f"the tiles have {len(sizes)} sizes of picture and descriptor; expected one")
        ((height, width, dimension),) = sizes
        counts = np.array([min(tile.count, most_keypoints) for tile in tiles], np.int32)
        keypoints = np.zeros((len(tiles), most_keypoints, 2), np.float32)
        scores = np.zeros((len(tiles), most_keypoints), np.float32)
        descriptors = np.zeros((len(tiles), most_keypoints, dimension), np.float16)
        for row, (tile, count) in enumerate(zip(tiles, counts, strict=True)):
            keypoints[row, :count] = tile.keypoints_px[:count]
            scores[row, :count] = tile.scores[:count]
            descriptors[row, :count] = tile.descriptors[:count]
        return cls(
            index_sha256, space_id, model, height, width, meters_per_pixel, counts, keypoints, scores, descriptors
        )

    def of_tile(self, tile: int) -> LocalFeatures:
        """Return the features of a tile; copies.

        Raises:
            InferenceError: there is no such tile.
        """
        if not 0 <= tile < len(self):
            raise InferenceError(
                f"there is no tile {tile}; the file holds {len(self)}: take the candidates of its index"
            )
        count = int(self.counts[tile])
        return LocalFeatures(
            keypoints_px=np.array(self.keypoints_px[tile, :count]),
            scores=np.array(self.scores[tile, :count]),
            descriptors=self.descriptors[tile, :count].astype(np.float32),
            image_height=self.image_height,
            image_width=self.image_width,
        )


def save_tile_features(features: TileFeatures, path: Path) -> str:
    """Write a file, which appears complete or not at all; returns the SHA-256 of its content.

    Raises:
        InferenceError: the path holds something else, or cannot be written.
    """
    count, most, dimension = features.descriptors.shape
    header = {
        "index_sha256": features.index_sha256,
        "space_id": features.space_id,
        "model": features.model,
        "image_height": features.image_height,
        "image_width": features.image_width,
        "meters_per_pixel": features.meters_per_pixel,
        "count": count,
        "most_keypoints": most,
        "dimension": dimension,
    }
    arrays = {name: getattr(features, name).astype(dtype, copy=False) for name, (dtype, _) in _shapes(header).items()}
    return write_arrays(path, _KIND, header, arrays)


def load_tile_features(path: Path, index_sha256: str = "") -> TileFeatures:
    """Read a file; its arrays are mapped into memory, after their hashes were compared.

    Args:
        path: of the file.
        index_sha256: content of the index that its rows must be of; empty: any.

    Raises:
        InferenceError: it is missing, damaged, or of another index.
    """
    try:
        mapped = read_arrays(path, _KIND, _shapes)
        header = mapped.header
        features = TileFeatures(
            index_sha256=str(header["index_sha256"]),
            space_id=str(header["space_id"]),
            model=str(header["model"]),
            image_height=int(header["image_height"]),
            image_width=int(header["image_width"]),
            meters_per_pixel=float(header["meters_per_pixel"]),
            sha256=mapped.sha256,
            **mapped.arrays,
        )
        if features.counts.min() < 0 or features.counts.max() > features.scores.shape[1]:
            raise ValueError("a tile claims more keypoints than there are rows")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InferenceError(
            f"{path} cannot be read as tile features ({type(error).__name__}: {error}); build them again with "
            "'gdi index build … --local-model NAME'"
        ) from error
    if index_sha256 and features.index_sha256 != index_sha256:
        raise InferenceError(
            f"{path} belongs to the index with SHA-256 {features.index_sha256}, not to {index_sha256}; build both anew"
        )
    return features


def _shapes(header: Mapping[str, Any]) -> ArrayShapes:
    count, most, dimension = (int(header[name]) for name in ("count", "most_keypoints", "dimension"))
    return {
        "counts": (np.int32, (count,)),
        "keypoints_px": (np.float32, (count, most, 2)),
        "scores": (np.float32, (count, most)),
        "descriptors": (np.float16, (count, most, dimension)),
    }
