"""Candidates and matches, there and back, for both message implementations."""

from __future__ import annotations

import importlib.util
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from model_identities import model_identity

from gps_denied_inference.core.contracts import (
    Correspondences,
    DropReason,
    Matches,
    PlaceCandidate,
    PlaceRecognition,
    StageTimings,
)
from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.interface import (
    MessageFactory,
    RosbagsMessageFactory,
    feature_matches_message,
    geometry_from_message,
    matches_from_message,
    place_candidates_message,
    place_recognition_from_message,
    points_from_message,
    stamp_ns_from_message,
)
from gps_denied_inference.core.matching import GeometryKind, VerifiedGeometry
from gps_denied_inference.core.pipeline import MatchedFeatures

_TIMINGS = StageTimings(0.5, 0.0, 0.0, 3.5, 4.5, 8.5)
_DROPS = {DropReason.OVERWRITTEN: 3}


class _Rosbags:
    def __init__(self) -> None:
        self.factory: MessageFactory = RosbagsMessageFactory()
        self._store = RosbagsMessageFactory().typestore

    def round_trip(self, message: Any) -> Any:
        kind = message.__msgtype__
        return self._store.deserialize_cdr(self._store.serialize_cdr(message, kind), kind)


class _Rclpy:
    def __init__(self) -> None:
        from gps_denied_inference.ros.message_factory import RclpyMessageFactory

        self.factory: MessageFactory = RclpyMessageFactory()

    def round_trip(self, message: Any) -> Any:
        from rclpy.serialization import deserialize_message, serialize_message

        return deserialize_message(serialize_message(message), type(message))


@pytest.fixture(scope="module", params=[_Rosbags, _Rclpy])
def wire(request: pytest.FixtureRequest) -> Any:
    if request.param is _Rclpy and importlib.util.find_spec("rclpy") is None:
        pytest.skip("rclpy is not installed")
    return request.param()


def test_place_candidates_survive_the_wire(wire: Any) -> None:
    candidates = (
        PlaceCandidate(7, 528_000.125, 4_978_000.5, 45.0, 0.75),
        PlaceCandidate(2**32 - 1, -1.0, 0.0, 0.0, -0.5),
    )
    result = PlaceRecognition(
        2 * 10**9 + 1, "optical", "nadir", "s/1/2/3", "ab" * 32, "EPSG:1", candidates, 0.25, _TIMINGS
    )
    message = wire.round_trip(place_candidates_message(wire.factory, result, dropped_since_last=_DROPS))
    back = place_recognition_from_message(message)
    for name in PlaceRecognition.__slots__:
        assert getattr(back, name) == getattr(result, name), name
    assert [(drop.reason, drop.count) for drop in message.dropped_since_last] == [("overwritten", 3)]


def _matched(count: int, *, has_homography: bool = True, with_network: bool = True) -> MatchedFeatures:
    generator = np.random.default_rng(count)
    geometry = VerifiedGeometry(
        GeometryKind.HOMOGRAPHY,
        generator.standard_normal((3, 3)) if has_homography else None,
        generator.uniform(size=count) > 0.5,
        0.5 if has_homography else float("nan"),
        0.25,
        generator.standard_normal((8, 8)) if has_homography else None,
    )
    matches = Matches(
        generator.integers(0, 1000, (count, 2)).astype(np.int32),
        np.sort(generator.uniform(size=count).astype(np.float32))[::-1],
    )
    model = model_identity() if with_network else None
    return MatchedFeatures(1, "first", 2, "second", "s/1/2/3", 1000, 900, matches, geometry, _TIMINGS, model)


@pytest.mark.parametrize("count", [0, 1, 400])
@pytest.mark.parametrize("has_homography", [True, False])
def test_feature_matches_survive_the_wire(wire: Any, count: int, has_homography: bool) -> None:
    sent = _matched(count, has_homography=has_homography)
    message = wire.round_trip(feature_matches_message(wire.factory, sent, dropped_since_last=_DROPS))
    assert (stamp_ns_from_message(message), message.second_header.frame_id) == (1, "second")
    assert (message.first_count, message.second_count, message.space_id) == (1000, 900, "s/1/2/3")
    matches, geometry = matches_from_message(message), geometry_from_message(message)
    np.testing.assert_array_equal(matches.indices, sent.matches.indices)
    np.testing.assert_array_equal(matches.scores, sent.matches.scores)
    np.testing.assert_array_equal(geometry.is_inlier, sent.geometry.is_inlier)
    assert message.inlier_count == sent.geometry.inlier_count
    if has_homography:
        np.testing.assert_array_equal(geometry.matrix, sent.geometry.matrix)
        np.testing.assert_array_equal(geometry.covariance, sent.geometry.covariance)
    else:
        assert geometry.matrix is None and geometry.covariance is None
        assert np.isnan(message.homography).all() and not message.has_homography
    assert message.matcher == sent.model.name if sent.model is not None else True


@pytest.mark.parametrize("count", [0, 1, 400])
def test_points_of_two_images_survive_the_wire(wire: Any, count: int) -> None:
    sent = replace(_matched(count), space_id="", second_height=480, second_width=640, points=_points(count))
    message = wire.round_trip(feature_matches_message(wire.factory, sent, dropped_since_last={}))
    assert (message.second_height, message.second_width) == (480, 640)
    back = points_from_message(message)
    assert back is not None and sent.points is not None and back.count == count
    for name in ("first_px", "second_px"):
        np.testing.assert_array_equal(getattr(back, name), getattr(sent.points, name))
    np.testing.assert_array_equal(back.scores, sent.matches.scores)
    message.count = count + 1
    with pytest.raises(InferenceError, match=f"'first_px' has {2 * count} elements") if count else nullcontext():
        points_from_message(message)


@pytest.mark.parametrize("count", [0, 3])
def test_matches_of_keypoints_have_no_points_of_their_own(wire: Any, count: int) -> None:
    message = wire.round_trip(feature_matches_message(wire.factory, _matched(count), dropped_since_last={}))
    assert len(message.first_px) == len(message.second_px) == 0
    assert points_from_message(message) is None


def _points(count: int) -> Correspondences:
    first, second = np.random.default_rng(count).uniform(0, 600, (2, count, 2)).astype(np.float32)
    return Correspondences(first, second, np.ones(count, np.float32))


def test_essential_matrix_survives_the_wire_and_is_no_homography(wire: Any) -> None:
    generator = np.random.default_rng(8)
    geometry = VerifiedGeometry(
        GeometryKind.ESSENTIAL_MATRIX,
        generator.standard_normal((3, 3)),
        np.ones(5, bool),
        0.25,
        0.5,
        rotation=generator.standard_normal((3, 3)),
        translation_direction=generator.standard_normal(3),
    )
    sent = replace(_matched(5), geometry=geometry)
    message = wire.round_trip(feature_matches_message(wire.factory, sent, dropped_since_last={}))
    assert (message.geometry, message.has_essential_matrix, message.has_homography) == ("essential_matrix", True, False)
    assert np.isnan(message.homography).all()
    back = geometry_from_message(message)
    assert back.kind is GeometryKind.ESSENTIAL_MATRIX and back.covariance is None
    for name in ("matrix", "is_inlier", "rotation", "translation_direction"):
        np.testing.assert_array_equal(getattr(back, name), getattr(geometry, name))
    message.has_essential_matrix = False
    assert geometry_from_message(message).matrix is None
    message.geometry = "sphere"
    with pytest.raises(InferenceError, match="'sphere'; expected homography or essential_matrix"):
        geometry_from_message(message)


def test_matches_without_a_network_say_so_and_wrong_counts_are_refused(wire: Any) -> None:
    message = wire.round_trip(
        feature_matches_message(wire.factory, _matched(3, with_network=False), dropped_since_last={})
    )
    assert (message.matcher, message.matcher_weights_sha256, message.runtime) == ("mutual_nearest", "", "")
    message.count = 4
    with pytest.raises(InferenceError, match="6 elements"):
        matches_from_message(message)
    with pytest.raises(InferenceError, match="3 elements"):
        geometry_from_message(message)
