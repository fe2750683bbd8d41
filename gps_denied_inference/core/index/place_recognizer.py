"""The way of a descriptor through an index."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np

from gps_denied_inference.core.contracts import DescribedFrame, PlaceCandidate, PlaceRecognition, StageTimings
from gps_denied_inference.core.index.tile_index import TileIndex, TileMatch

__all__ = ["PlaceRecognizer", "rank_margin"]

_FARTHEST = 64
"""Candidates that are looked at for the margin, beyond those that are returned: the headings of one place."""


class PlaceRecognizer:
    """Looks descriptors up. Satisfies `Processor`; use from one thread at a time.

    Args:
        index: of the map.
        top_k: candidates of a frame; read with each.
        clock: steady clock, nanoseconds.
    """

    def __init__(
        self, index: TileIndex, *, top_k: Callable[[], int], clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._index = index
        self._top_k = top_k
        self._clock = clock

    def warm_up_thread(self) -> None:
        """Search once, so that the index is in memory."""
        self._index.search(self._index.descriptors[0], self._index.space_id)

    def process(self, frame: DescribedFrame, received_ns: int | None = None, /) -> PlaceRecognition:
        """Return the most similar tiles.

        Raises:
            InferenceError: the descriptor lives in another space, has another dimension, is zero or not finite.
        """
        start_ns = self._clock()
        k = self._top_k()
        matches = self._index.search(frame.values, frame.space_id, max(k, _FARTHEST))
        margin = rank_margin(matches, self._index.details.side_m / 2)
        end_ns = self._clock()
        first_ns = start_ns if received_ns is None else received_ns
        return PlaceRecognition(
            stamp_ns=frame.stamp_ns,
            frame_id=frame.frame_id,
            camera_id=frame.camera_id,
            space_id=frame.space_id,
            index_sha256=self._index.sha256,
            crs=self._index.details.crs,
            candidates=tuple(
                PlaceCandidate(match.tile, match.x_m, match.y_m, match.heading_deg, match.similarity)
                for match in matches[:k]
            ),
            rank_margin=margin,
            timings=StageTimings(
                wait_ms=(start_ns - first_ns) / 1e6,
                decode_ms=0.0,
                preprocess_ms=0.0,
                infer_ms=(end_ns - start_ns) / 1e6,
                postprocess_ms=0.0,
                total_ms=(end_ns - first_ns) / 1e6,
            ),
        )


def rank_margin(matches: Sequence[TileMatch], radius_m: float) -> float:
    """Return by how much the best match is more similar than the best one elsewhere; NaN when there is none.

    Args:
        matches: best first, at least one.
        radius_m: what is nearer to the best match is the same place.
    """
    places = np.array([(match.x_m, match.y_m) for match in matches])
    elsewhere = np.flatnonzero(np.linalg.norm(places - places[0], axis=1) > radius_m)
    return matches[0].similarity - matches[elsewhere[0]].similarity if elsewhere.size else math.nan
