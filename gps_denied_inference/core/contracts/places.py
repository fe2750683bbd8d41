"""Where an image may have been taken, by its descriptor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts.timing import StageTimings

__all__ = ["DescribedFrame", "PlaceCandidate", "PlaceRecognition"]


@dataclass(frozen=True, slots=True, eq=False)
class DescribedFrame:
    """A global descriptor that came from elsewhere, and what it may be compared with.

    Attributes:
        stamp_ns, frame_id, camera_id: of the image, verbatim.
        space_id: of the descriptor.
        values: float32, shape (D,).
    """

    stamp_ns: int
    frame_id: str
    camera_id: str
    space_id: str
    values: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PlaceCandidate:
    """A tile of the map that looks like the image.

    Attributes:
        tile: its row in the index.
        x_m, y_m: its centre, in the map's coordinates.
        heading_deg: direction of its top edge, clockwise from north.
        similarity: cosine, -1..1.
    """

    tile: int
    x_m: float
    y_m: float
    heading_deg: float
    similarity: float


@dataclass(frozen=True, slots=True, eq=False)
class PlaceRecognition:
    """What an index says of one image.

    Attributes:
        stamp_ns, frame_id, camera_id: of the image, verbatim.
        space_id: of the descriptors that were compared.
        index_sha256: content of the index.
        crs: coordinate system of the positions; empty when the map names none.
        candidates: best first.
        rank_margin: similarity of the best less that of the best one elsewhere: further from it than half a tile. NaN
            when all candidates are at one place.
        timings: `infer_ms` is the search.
    """

    stamp_ns: int
    frame_id: str
    camera_id: str
    space_id: str
    index_sha256: str
    crs: str
    candidates: tuple[PlaceCandidate, ...]
    rank_margin: float
    timings: StageTimings
