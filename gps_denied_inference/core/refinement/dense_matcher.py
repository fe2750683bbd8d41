"""The way of an image through conditional refinement: its tile is cut out, both are matched, the result is verified."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import (
    Correspondences,
    Frame,
    Matches,
    PlaceRecognition,
    RuntimeLabel,
    StageTimings,
)
from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.flight import frame_of_tile
from gps_denied_inference.core.imaging import decode
from gps_denied_inference.core.index import tile_frame_id
from gps_denied_inference.core.matching import VerifiedGeometry, verify_homography
from gps_denied_inference.core.pipeline import MatchedFeatures, ModelIdentity
from gps_denied_inference.core.refinement.map_tiles import MapTiles

__all__ = ["DenseMatcher", "ImageMatching", "PlacedImage"]


@dataclass(frozen=True, slots=True, eq=False)
class PlacedImage:
    """An image, and where it may have been taken."""

    image: Frame
    places: PlaceRecognition


class ImageMatching(Protocol):
    """Pairs points of two images: a `MatchingPipeline` of a network that takes images."""

    @property
    def model(self) -> ModelIdentity: ...

    def match_decoded(self, first_hwc: NDArray[np.uint8], second_hwc: NDArray[np.uint8], /) -> Correspondences: ...


class DenseMatcher:
    """Matches images with the tiles that they may show, and verifies. A `Processor`; use from one thread at a time.

    Args:
        matching: pairs the points.
        tiles: of the map.
        threshold_px: largest noise of a true match, pixels of the tile's picture; read with each image.
        candidates: how many of an image's candidates are matched, best first: that with most inliers counts. Read with
            each image.
        clock: steady clock, nanoseconds.
    """

    def __init__(
        self,
        matching: ImageMatching,
        tiles: MapTiles,
        *,
        threshold_px: Callable[[], float],
        candidates: Callable[[], int] = lambda: 1,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._matching = matching
        self._tiles = tiles
        self._threshold_px = threshold_px
        self._candidates = candidates
        self._clock = clock

    def warm_up_thread(self) -> None:
        """Cut a tile and match it with itself, so that the first image does not pay for what comes with each thread.

        The fake runtime is left out: its answers are scripted call by call.

        Raises:
            InferenceError, OutOfMemoryError: as `process`.
        """
        picture_hwc = self._picture(0)
        if self._matching.model.runtime_label is not RuntimeLabel.FAKE:
            self._matching.match_decoded(picture_hwc, picture_hwc)

    def process(self, frame: PlacedImage, received_ns: int | None = None, /) -> MatchedFeatures:
        """Match an image with its candidates' tiles. Of the timings, `preprocess_ms` is the cutting.

        Raises:
            ImageDecodeError: the image is not what its header claims, or of an unknown encoding.
            InferenceError: it has no candidate, or those of another index, or the network failed.
            NonFiniteOutputError: the network returned NaN or Inf.
            OutOfMemoryError: the device is out of memory.
        """
        start_ns = self._clock()
        places, index = frame.places, self._tiles.index
        if places.index_sha256 != index.sha256:
            raise InferenceError(
                f"the candidates are of the index {places.index_sha256}, this node's is {index.sha256}; give both "
                "nodes the same file"
            )
        if not places.candidates:
            raise InferenceError("the place_candidates of this stamp are none; check the place recognition")
        image_hwc = decode(frame.image, self._matching.model.spec.preprocess.color)
        now_ns = self._clock()
        decode_ns, cut_ns, match_ns, verify_ns = now_ns - start_ns, 0, 0, 0
        best: _Attempt | None = None
        for candidate in places.candidates[: self._candidates()]:
            picture_hwc = self._picture(candidate.tile)
            cut_at_ns = self._clock()
            points = self._matching.match_decoded(image_hwc, picture_hwc)
            matched_at_ns = self._clock()
            geometry = verify_homography(
                points.first_px,
                points.second_px,
                image_height=image_hwc.shape[0],
                image_width=image_hwc.shape[1],
                threshold_px=self._threshold_px(),
            )
            if best is None or geometry.inlier_count > best.geometry.inlier_count:
                best = _Attempt(candidate.tile, points, geometry)
            cut_ns, match_ns = cut_ns + cut_at_ns - now_ns, match_ns + matched_at_ns - cut_at_ns
            now_ns = self._clock()
            verify_ns += now_ns - matched_at_ns
        assert best is not None
        first_ns = start_ns if received_ns is None else received_ns
        count = best.points.count
        rows = np.arange(count, dtype=np.int32)
        return MatchedFeatures(
            first_stamp_ns=frame.image.stamp_ns,
            first_frame_id=frame.image.frame_id,
            second_stamp_ns=0,
            second_frame_id=tile_frame_id(index.sha256, best.tile),
            space_id="",
            first_count=count,
            second_count=count,
            matches=Matches(np.stack((rows, rows), axis=1), best.points.scores),
            geometry=best.geometry,
            timings=StageTimings(
                wait_ms=(start_ns - first_ns) / 1e6,
                decode_ms=decode_ns / 1e6,
                preprocess_ms=cut_ns / 1e6,
                infer_ms=match_ns / 1e6,
                postprocess_ms=verify_ns / 1e6,
                total_ms=(now_ns - first_ns) / 1e6,
            ),
            model=self._matching.model,
            second_height=self._tiles.image_height,
            second_width=self._tiles.image_width,
            points=best.points,
        )

    def _picture(self, tile: int) -> NDArray[np.uint8]:
        """A tile's picture with the channels that the network takes."""
        return decode(frame_of_tile(self._tiles.picture(tile)), self._matching.model.spec.preprocess.color)


@dataclass(frozen=True, slots=True, eq=False)
class _Attempt:
    """What was found with one tile."""

    tile: int
    points: Correspondences
    geometry: VerifiedGeometry
