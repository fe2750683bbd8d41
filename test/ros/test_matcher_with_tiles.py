"""`matcher_node` with the features of a map's tiles: each image is matched with its own tile, or counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile

import gps_denied_inference.msg as messages
from gps_denied_inference.core.contracts import LocalFeatures
from gps_denied_inference.core.index import TileFeatures, save_tile_features, tile_of_frame_id
from gps_denied_inference.core.interface import stamp_ns_from_message
from gps_denied_inference.ros.matcher_node import MatcherNode
from gps_denied_inference.ros.message_factory import RclpyMessageFactory

_INDEX, _SPACE = "ab" * 32, "xfeat/64/0123456789ab/01234567"
_TILES, _KEYPOINTS = 3, 40
_DEEP = QoSProfile(depth=100)


def _tile_features() -> TileFeatures:
    """Tiles of nothing in common, a grid of keypoints each."""
    generator = np.random.default_rng(4)
    descriptors = generator.standard_normal((_TILES, _KEYPOINTS, 64)).astype(np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=2, keepdims=True)
    return TileFeatures(
        index_sha256=_INDEX,
        space_id=_SPACE,
        model="xfeat",
        image_height=480,
        image_width=640,
        meters_per_pixel=0.1,
        counts=np.full(_TILES, _KEYPOINTS, np.int32),
        keypoints_px=generator.uniform((0, 0), (639, 479), (_TILES, _KEYPOINTS, 2)).astype(np.float32),
        scores=np.tile(np.linspace(1.0, 0.1, _KEYPOINTS, dtype=np.float32), (_TILES, 1)),
        descriptors=descriptors.astype(np.float16),
    )


class Bench:
    """An active node and its client, spun by the test itself."""

    def __init__(self, domain_id: int, tiles: Path) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain_id)
        parameters = {
            "matcher": "mutual_nearest",
            "tile_features": str(tiles),
            "max_frame_age_ms": 60_000.0,
            "input_reliability": "reliable",
            "input_depth": 100,
            "diagnostics_rate_hz": 10.0,
        }
        self.node = MatcherNode(
            context=self._context,
            parameter_overrides=[Parameter(name, value=value) for name, value in parameters.items()],
        )
        self.client = rclpy.create_node("test_client", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        for node in (self.node, self.client):
            self._executor.add_node(node)
        self.features = self.client.create_publisher(messages.LocalFeatures, "local_features", _DEEP)
        self.places = self.client.create_publisher(messages.PlaceCandidates, "place_candidates", _DEEP)
        self.matches: list[Any] = []
        self._statuses: list[Any] = []
        self.client.create_subscription(messages.FeatureMatches, "feature_matches", self.matches.append, _DEEP)
        self.client.create_subscription(DiagnosticArray, "/diagnostics", self._statuses.append, _DEEP)
        assert self.node.trigger_configure() is TransitionCallbackReturn.SUCCESS
        self.activate()

    def activate(self) -> None:
        assert self.node.trigger_activate() is TransitionCallbackReturn.SUCCESS
        self.spin_until(
            lambda: self.features.get_subscription_count() and self.places.get_subscription_count(), "the subscriptions"
        )
        self.spin_until(lambda: self.client.count_publishers("feature_matches"), "the publisher")

    def spin_until(self, condition: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + 60.0
        while time.monotonic() < deadline:
            self._executor.spin_once(timeout_sec=0.02)
            value = condition()
            if value:
                return value
        raise AssertionError(f"waited 60 s for {what}; the last status: {self.status()}")

    def status(self) -> Any:
        """The last status of the work on messages."""
        found = [entry for array in self._statuses for entry in array.status if entry.name.endswith(": matching")]
        return found[-1] if found else None

    def counts(self) -> dict[str, int]:
        status = self.status()
        values = {} if status is None else {item.key: item.value for item in status.values}
        names = [name for name in values if name.startswith("dropped_") or name in ("received", "published", "pending")]
        counts = {name: int(values[name]) for name in names}
        dropped = sum(count for name, count in counts.items() if name.startswith("dropped_"))
        assert not counts or counts["received"] == counts["published"] + dropped + counts["pending"], counts
        return counts

    def counted(self, **expected: int) -> dict[str, int]:
        """Return the counters once they say this."""

        def read() -> dict[str, int]:
            counts = self.counts()
            return counts if all(counts.get(name) == count for name, count in expected.items()) else {}

        counts: dict[str, int] = self.spin_until(read, str(expected))
        return counts

    def close(self) -> None:
        self.node.close()
        for node in (self.node, self.client):
            self._executor.remove_node(node)
            node.destroy_node()
        self._executor.shutdown()
        rclpy.shutdown(context=self._context)


@pytest.fixture
def bench(domain_id: int, tmp_path: Path) -> Iterator[Bench]:
    path = tmp_path / "map.index.local"
    save_tile_features(_tile_features(), path)
    bench = Bench(domain_id, path)
    yield bench
    bench.close()


def _features_of_tile(tile: int, stamp_ns: int) -> Any:
    """What an image that shows this tile would have."""
    seen: LocalFeatures = _tile_features().of_tile(tile)
    factory = RclpyMessageFactory()
    return messages.LocalFeatures(
        header=factory.header(stamp_ns, "camera_optical"),
        space_id=_SPACE,
        dimension=64,
        count=seen.count,
        image_height=480,
        image_width=640,
        keypoints_px=factory.floats(seen.keypoints_px),
        scores=factory.floats(seen.scores),
        descriptors=factory.floats(seen.descriptors),
        is_valid=True,
    )


def _candidates(tile: int, stamp_ns: int) -> Any:
    entry = messages.PlaceCandidate(tile=tile)
    header = RclpyMessageFactory().header(stamp_ns, "camera_optical")
    return messages.PlaceCandidates(header=header, index_sha256=_INDEX, candidates=[entry])


def test_each_image_is_matched_with_the_tile_of_its_own_stamp(bench: Bench) -> None:
    """Two images of different tiles: with the latest candidates one would be matched with the other's tile."""
    bench.features.publish(_features_of_tile(0, 101))
    bench.features.publish(_features_of_tile(2, 102))
    bench.counted(received=2, pending=2, published=0)
    bench.places.publish(_candidates(2, 102))
    bench.spin_until(lambda: len(bench.matches) == 1, "the second image's matches")
    bench.places.publish(_candidates(0, 101))
    bench.spin_until(lambda: len(bench.matches) == 2, "the first image's matches")
    # Candidates that come before the features wait likewise; of another image there are newer ones by then.
    bench.places.publish(_candidates(1, 103))
    bench.places.publish(_candidates(0, 104))
    bench.features.publish(_features_of_tile(1, 103))
    bench.spin_until(lambda: len(bench.matches) == 3, "the third image's matches")
    assert [
        (stamp_ns_from_message(match), *tile_of_frame_id(match.second_header.frame_id)) for match in bench.matches
    ] == [(102, _INDEX, 2), (101, _INDEX, 0), (103, _INDEX, 1)]
    assert [match.inlier_count for match in bench.matches] == [_KEYPOINTS] * 3
    assert bench.counted(received=3, pending=0)["published"] == 3


def test_features_without_candidates_are_counted_and_forgotten(bench: Bench) -> None:
    for stamp_ns in range(20):
        bench.features.publish(_features_of_tile(0, stamp_ns))
    bench.counted(received=20, pending=16, dropped_unpaired=4)
    bench.places.publish(_candidates(0, 3))
    bench.places.publish(_candidates(0, 4))
    bench.counted(received=20, pending=15, dropped_unpaired=4, published=1)
    assert [stamp_ns_from_message(match) for match in bench.matches] == [4]
    # Deactivated, what waits is counted; candidates of before are not matched with images of after.
    bench.places.publish(_candidates(1, 50))
    bench.places.publish(_candidates(0, 5))
    bench.counted(received=20, pending=14, published=2)
    assert bench.node.trigger_deactivate() is TransitionCallbackReturn.SUCCESS
    bench.counted(received=20, pending=0, dropped_inactive=14)
    bench.features.publish(_features_of_tile(0, 60))
    bench.counted(received=21, pending=0, dropped_inactive=15)
    bench.activate()
    bench.features.publish(_features_of_tile(0, 50))
    bench.counted(received=22, pending=1, published=2)
    bench.node.set_parameters([Parameter("max_frame_age_ms", value=1.0)])
    bench.counted(received=22, pending=0, dropped_unpaired=5)
    assert len(bench.matches) == 2
