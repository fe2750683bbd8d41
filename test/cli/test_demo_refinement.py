"""What the demo makes of recorded candidates and matches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gps_denied_inference.cli.demonstration.measurement import RecordedFrame, RecordedMatch, Recording
from gps_denied_inference.cli.demonstration.refine import best_tile, refined_position_m
from gps_denied_inference.core.contracts import LocalFeatures, PlaceCandidate, PlaceRecognition, StageTimings
from gps_denied_inference.core.errors import ReplayError
from gps_denied_inference.core.evaluation import NotRefined, RefinementLog, score_refinement
from gps_denied_inference.core.flight import NadirCamera
from gps_denied_inference.core.index import TileFeatures, TileIndex
from gps_denied_inference.core.matching import GeometryKind, VerifiedGeometry

TIMINGS = StageTimings(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
NOTHING = LocalFeatures(np.zeros((1, 2), np.float32), np.ones(1, np.float32), np.ones((1, 4), np.float32), 480, 640)
INDEX = TileIndex.of_unit_descriptors(
    "space", np.eye(2, dtype=np.float32), np.array([[10.0, 20.0], [50.0, 60.0]]), np.zeros(2), sha256="ab" * 32
)
FEATURES = TileFeatures.of_tiles(
    [NOTHING, NOTHING], 1, index_sha256="ab" * 32, space_id="local", model="xfeat", meters_per_pixel=0.1
)
FRAME = RecordedFrame(7, "space", np.array([0.0, 1.0], np.float32), TIMINGS)


def recording(tile: int | None, index_sha256: str = "ab" * 32) -> Recording:
    places = {}
    if tile is not None:
        x_m, y_m = INDEX.positions_m[tile]
        candidate = PlaceCandidate(tile, float(x_m), float(y_m), 0.0, 0.9)
        places[7] = PlaceRecognition(7, "camera", "", "space", index_sha256, "", (candidate,), 0.1, TIMINGS)
    return Recording([FRAME], [], [], None, places, {})


def refined(match: RecordedMatch | None, log: RefinementLog) -> Any:
    return refined_position_m(7, log, match, INDEX, FEATURES, camera=NadirCamera(640, 480), minimum_inliers=15)


def matched(inliers: int, matrix: Any = None) -> RecordedMatch:
    shift = np.array([[1.0, 0.0, 30.0], [0.0, 1.0, -20.0], [0.0, 0.0, 1.0]]) if matrix is None else matrix
    geometry = VerifiedGeometry(GeometryKind.HOMOGRAPHY, shift, np.ones(inliers, bool), 0.5, 0.5)
    return RecordedMatch("ab" * 32, 1, geometry)


def test_retrieved_position_is_what_the_node_published() -> None:
    assert best_tile(FRAME, recording(0), INDEX).tile == 0, "not what a search would find"
    assert best_tile(FRAME, recording(None), INDEX).tile == 1, "of a frame that the node dropped: what it would find"
    with pytest.raises(ReplayError, match="run again"):
        best_tile(FRAME, recording(0, "cd" * 32), INDEX)


def test_refined_position_is_that_of_the_homography_to_the_matched_tile() -> None:
    assert refined(matched(15), RefinementLog()) == pytest.approx((50.0 + 3.0, 60.0 + 2.0))
    assert refined(matched(14), RefinementLog()) is NotRefined.TOO_FEW_INLIERS
    at_infinity = np.diag([1.0, 1.0, 0.0])
    assert refined(matched(40, at_infinity), RefinementLog()) is NotRefined.TOO_FEW_INLIERS
    with pytest.raises(ReplayError, match="not of"):
        refined(replace(matched(20), index_sha256="cd" * 32), RefinementLog())


def test_each_frame_without_matches_has_its_reason() -> None:
    log = RefinementLog()
    assert refined(None, log) is NotRefined.NO_FEATURES
    log.featured.add(7)
    assert refined(None, log) is NotRefined.NO_CANDIDATES
    log.candidates.add(7)
    assert refined(None, log) is NotRefined.SKIPPED
    log.ranked[7] = ()
    assert refined(None, log) is NotRefined.REFUSED
    log.ranked[7] = (1,)
    assert refined(None, log) is NotRefined.NOT_MATCHED


def test_errors_are_compared_on_the_same_frames() -> None:
    outcomes = [(100.0, None, NotRefined.SKIPPED), (4.0, 1.0, None), (6.0, 2.0, None), (9.0, 3.0, None)]
    score = score_refinement(outcomes, reranked_frames=3, changed_frames=1, nodes=())
    assert (score.median_error_m, score.retrieved_median_error_m) == (2.0, 6.0)
    assert (score.frames, score.refined_frames, score.coverage) == (4, 3, 0.75)
    assert score.not_refined == {NotRefined.SKIPPED: 1} and not score.violations()
