"""For each executable: what a node under test takes, a source of it, and what comes of it."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from node_bench import DEEP, NodeBench
from node_harness import image_message, wait_for
from node_parameters import fake_parameters
from sensor_msgs.msg import CompressedImage, Image

import gps_denied_inference.msg as messages
from gps_denied_inference.core.index import TileIndex, TileIndexDetails, load_tile_index, save_tile_index
from gps_denied_inference.core.interface import stamp_ns_from_message
from gps_denied_inference.ros.message_factory import RclpyMessageFactory

__all__ = ["CASES", "Feed", "NodeCase"]

_SPACE = "net/64/0123456789ab/01234567"
_FACTORY = RclpyMessageFactory()
_FRAME = "camera_optical"
_EVERY_MESSAGE = ("input_reliability:=reliable", "input_depth:=100", "output_depth:=1000")


class Feed:
    """A publisher of what a configured node works on, and the list of what comes of it."""

    kind: Any
    topic: str
    result_kind: Any
    result_topic: str

    def __init__(self, bench: NodeBench) -> None:
        self.sent = 0
        self._publishers: list[Any] = []
        self._client = bench.client
        self.results = self._client.collect(self.result_kind, self.result_topic, DEEP)
        self._publisher = self._input(self.kind, self.topic)

    def await_no_inputs(self) -> None:
        """Wait until this side, too, knows of the end of the node's subscriptions."""
        wait_for(
            lambda: not any(publisher.get_subscription_count() for publisher in self._publishers),
            "the end of the subscriptions",
        )

    def await_inputs(self, node: str) -> None:
        """Wait until a node that was configured anew takes what is sent."""
        wait_for(
            lambda: all(publisher.get_subscription_count() for publisher in self._publishers),
            "the new subscriptions",
        )
        self._client.await_seen_by(node)

    def send(self, stamp_ns: int) -> None:
        """Send one message that the node counts."""
        self._publisher.publish(self._message(stamp_ns))
        self.sent += 1

    def await_answer(self, first_stamp_ns: int) -> None:
        """Send until the newest is answered: what a node needs beside may come later than its message."""
        stamps = iter(range(first_stamp_ns, first_stamp_ns + 1000))

        def is_answered() -> bool:
            stamp_ns = next(stamps)
            self._prepare(stamp_ns)
            self.send(stamp_ns)
            deadline = time.monotonic() + 0.5
            # An answer to the one before is none: whoever went on with it would always be one behind.
            while time.monotonic() < deadline:
                if self.results and stamp_ns_from_message(self.results[-1]) == stamp_ns:
                    return True
                time.sleep(0.01)
            return False

        wait_for(is_answered, f"an answer on {self.result_topic}")

    def prepare(self, stamps_ns: range) -> None:
        """Send what the node needs beside the messages of these stamps."""
        for stamp_ns in stamps_ns:
            self._prepare(stamp_ns)

    def _prepare(self, stamp_ns: int) -> None:
        """Of one message."""

    @abstractmethod
    def _message(self, stamp_ns: int) -> Any: ...

    def _input(self, kind: Any, topic: str) -> Any:
        publisher = self._client.image_publisher(topic, kind, node_qos=DEEP)
        self._publishers.append(publisher)
        return publisher


class _Images(Feed):
    kind, topic = Image, "/image"
    result_kind, result_topic = messages.GlobalDescriptor, "/global_descriptor"
    _pixels_hwc = np.zeros((48, 64, 3), np.uint8)

    def _message(self, stamp_ns: int) -> Any:
        return image_message(self._pixels_hwc, "rgb8", stamp_ns, _FRAME)


class _Descriptors(Feed):
    kind, topic = messages.GlobalDescriptor, "/global_descriptor"
    result_kind, result_topic = messages.PlaceCandidates, "/place_candidates"

    def _message(self, stamp_ns: int) -> Any:
        values = np.random.default_rng(stamp_ns).standard_normal(64, np.float32)
        header = _FACTORY.header(stamp_ns, _FRAME)
        return messages.GlobalDescriptor(
            header=header, space_id=_SPACE, dimension=64, values=_FACTORY.floats(values), is_valid=True
        )


def _features(stamp_ns: int, count: int, dimension: int, seed: int) -> Any:
    generator = np.random.default_rng(seed)
    descriptors = generator.standard_normal((count, dimension), np.float32)
    descriptors /= np.maximum(np.linalg.norm(descriptors, axis=1, keepdims=True), 1e-6)
    return messages.LocalFeatures(
        header=_FACTORY.header(stamp_ns, _FRAME),
        space_id=_SPACE,
        image_height=480,
        image_width=640,
        count=count,
        dimension=dimension,
        keypoints_px=_FACTORY.floats(generator.uniform(0, 480, (count, 2)).astype(np.float32)),
        scores=_FACTORY.floats(np.ones(count, np.float32)),
        descriptors=_FACTORY.floats(descriptors),
        is_valid=True,
    )


class _Features(Feed):
    kind, topic = messages.LocalFeatures, "/local_features"
    result_kind, result_topic = messages.FeatureMatches, "/feature_matches"
    _count = 1000  # some 10 ms of matching and verification

    def __init__(self, bench: NodeBench) -> None:
        super().__init__(bench)
        self._reference = self._input(messages.LocalFeatures, "/reference_features")
        self._sent = _features(0, self._count, 64, seed=1)

    def _prepare(self, stamp_ns: int) -> None:
        self._reference.publish(_features(stamp_ns, self._count, 64, seed=1))

    def prepare(self, stamps_ns: range) -> None:
        self._prepare(stamps_ns.start)  # one reference serves all

    def _message(self, stamp_ns: int) -> Any:
        self._sent.header = _FACTORY.header(stamp_ns, _FRAME)
        return self._sent


class _FoundImages(_Images):
    """Images and their keypoints, which come first; so many of them that drawing takes longer than sending."""

    result_kind, result_topic = CompressedImage, "/debug_overlay/compressed"
    _keypoints = 4000

    def __init__(self, bench: NodeBench) -> None:
        super().__init__(bench)
        self._finder = self._input(messages.LocalFeatures, "/local_features")
        self._found = _features(0, self._keypoints, 0, seed=1)

    def _prepare(self, stamp_ns: int) -> None:
        self._found.header = _FACTORY.header(stamp_ns, _FRAME)
        self._finder.publish(self._found)


class _PlacedImages(_Images):
    """Images and their candidates, which come first."""

    result_kind, result_topic = messages.FeatureMatches, "/refinement/feature_matches"

    def __init__(self, bench: NodeBench) -> None:
        super().__init__(bench)
        self._places = self._input(messages.PlaceCandidates, "/place_candidates")
        self._sha256 = load_tile_index(bench.folder / "map.index").sha256

    def send(self, stamp_ns: int) -> None:
        self._places.publish(
            messages.PlaceCandidates(
                header=_FACTORY.header(stamp_ns, _FRAME),
                index_sha256=self._sha256,
                candidates=[messages.PlaceCandidate(tile=0)],
            )
        )
        super().send(stamp_ns)


@dataclass(frozen=True, slots=True)
class NodeCase:
    """How an executable is run under test.

    Attributes:
        node: its name.
        parameters: made in a folder, as on the command line.
        task: of the diagnostics that holds the counters; empty for a node that takes no messages.
        feed: of what it works on; None likewise.
        burst: messages that are sent at once: less than half of what a subscription keeps, and no more than it holds.
        is_timed: the time that the work takes is told with each result, and is long beside a thread's waking.
    """

    node: str
    parameters: Callable[[Path], tuple[str, ...]]
    task: str = ""
    feed: Callable[[NodeBench], Feed] | None = None
    burst: int = 40
    is_timed: bool = False


def _inference(folder: Path) -> tuple[str, ...]:
    return (*fake_parameters(folder, "latency_ms: 30.0"), *_EVERY_MESSAGE)


def _place_recognition(folder: Path) -> tuple[str, ...]:
    generator = np.random.default_rng(0)
    positions = generator.uniform(0, 10_000, (2000, 2))
    descriptors = generator.standard_normal((2000, 64), np.float32)
    index = TileIndex(_SPACE, descriptors, positions, np.zeros(2000), TileIndexDetails(crs="EPSG:32612", side_m=1.0))
    path = folder / "map.index"
    save_tile_index(index, path)
    # A message of 1000 candidates takes milliseconds to write.
    return (f"index:={path}", "top_k:=1000", *_EVERY_MESSAGE)


def _refinement(folder: Path) -> tuple[str, ...]:
    from indexed_maps import index_map, write_map

    ground = np.random.default_rng(0).integers(0, 256, (700, 800, 3), np.uint8)
    mapped = index_map(write_map(folder / "map.tif", ground))
    files = (f"index:={mapped.index_path}", f"maps:=['{mapped.map_path}']")
    return (*fake_parameters(folder, "latency_ms: 30.0"), *files, *_EVERY_MESSAGE)


CASES = {
    "inference_node": NodeCase("/inference_node", _inference, "inference", _Images, is_timed=True),
    "place_recognition_node": NodeCase("/place_recognition_node", _place_recognition, "recognition", _Descriptors),
    "matcher_node": NodeCase(
        "/matcher_node",
        lambda _: ("matcher:=mutual_nearest", *_EVERY_MESSAGE),
        "matching",
        _Features,
        is_timed=True,
    ),
    "refinement_node": NodeCase("/refinement_node", _refinement, "refinement", _PlacedImages, burst=16, is_timed=True),
    "debug_overlay_node": NodeCase("/debug_overlay_node", lambda _: _EVERY_MESSAGE, "overlay", _FoundImages, burst=16),
    "thermal_monitor_node": NodeCase("/thermal_monitor", lambda _: ()),
}
"""By executable."""
