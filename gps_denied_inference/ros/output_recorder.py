"""Records what a node publishes, as it comes over DDS, and remembers when it came."""

from __future__ import annotations

import struct
import threading
import time
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

import gps_denied_inference.msg as messages
from gps_denied_inference.core.replay import BagTopic, BagWriter, TopicQos

__all__ = ["OutputRecorder", "ReceivedFeatures", "output_bag_topics", "stamp_ns_from_cdr"]

_LATCHED = TopicQos(depth=1, is_latched=True)
# Deeper than a minute of frames: the recorder must never be the one that loses a message.
_DEPTH = 2000
_TOPICS = (
    ("global_descriptor", "GlobalDescriptor", TopicQos(depth=_DEPTH)),
    ("local_features", "LocalFeatures", TopicQos(depth=_DEPTH)),
    ("model_info", "ModelInfo", _LATCHED),
    ("engine_health", "EngineHealth", TopicQos(depth=_DEPTH)),
    ("thermal_state", "ThermalState", _LATCHED),
    # Of the nodes behind it, where they run.
    ("place_candidates", "PlaceCandidates", TopicQos(depth=_DEPTH)),
    ("feature_matches", "FeatureMatches", TopicQos(depth=_DEPTH)),
    ("refinement/feature_matches", "FeatureMatches", TopicQos(depth=_DEPTH)),
    ("refinement/model_info", "ModelInfo", _LATCHED),
)
_FEATURES = ("global_descriptor", "local_features")


@dataclass(frozen=True, slots=True)
class ReceivedFeatures:
    """A features message that came.

    Attributes:
        stamp_ns: of its header.
        received_ns: steady clock.
    """

    stamp_ns: int
    received_ns: int


def stamp_ns_from_cdr(cdr: bytes) -> int:
    """Return the stamp of a serialised message that begins with a header, nanoseconds."""
    order = "<" if cdr[1] & 1 else ">"
    sec, nanosec = struct.unpack_from(f"{order}iI", cdr, 4)
    return int(sec) * 1_000_000_000 + int(nanosec)


def output_bag_topics(namespace: str) -> list[BagTopic]:
    """Return the topics that the recorder writes for a node in `namespace`."""
    return [
        BagTopic(f"{namespace.rstrip('/')}/{name}", f"gps_denied_inference/msg/{kind}", qos)
        for name, kind, qos in _TOPICS
    ]


class OutputRecorder:
    """Subscribes to the outputs of an inference node. Callbacks run on the executor's thread and only take notes.

    Args:
        node: owns the subscriptions.
        namespace: of the inference node.
        writer: takes every message, serialised as it came; None keeps only the times and the latest health.
    """

    def __init__(self, node: Node, namespace: str, writer: BagWriter | None) -> None:
        self._writer = writer
        self._lock = threading.Lock()
        self._unwritten: list[tuple[str, int, bytes]] = []
        self._features: list[ReceivedFeatures] = []
        self._health: tuple[int, bytes] | None = None
        self._subscriptions: dict[str, Any] = {}
        for (name, kind, qos), topic in zip(_TOPICS, output_bag_topics(namespace), strict=True):
            profile = QoSProfile(
                history=HistoryPolicy.KEEP_LAST,
                depth=qos.depth,
                reliability=ReliabilityPolicy.RELIABLE,
                durability=DurabilityPolicy.TRANSIENT_LOCAL if qos.is_latched else DurabilityPolicy.VOLATILE,
            )
            self._subscriptions[name] = node.create_subscription(
                getattr(messages, kind), topic.name, self._recorder_of(name, topic.name), profile, raw=True
            )

    @property
    def is_connected(self) -> bool:
        """A node that publishes features and its health is matched."""
        has_features = any(self._subscriptions[name].get_publisher_count() > 0 for name in _FEATURES)
        return has_features and self._subscriptions["engine_health"].get_publisher_count() > 0

    def features(self) -> list[ReceivedFeatures]:
        """Return what came so far, in order."""
        with self._lock:
            return list(self._features)

    @property
    def features_count(self) -> int:
        with self._lock:
            return len(self._features)

    def latest_health(self) -> tuple[int, bytes] | None:
        """Return when the last EngineHealth came (steady clock, ns) and its bytes; None before the first."""
        with self._lock:
            return self._health

    def flush(self) -> None:
        """Write what came since the last call. Call it from the thread that made the writer: SQLite insists.

        Raises:
            ReplayError: it cannot be written.
        """
        with self._lock:
            unwritten, self._unwritten = self._unwritten, []
        if self._writer is not None:
            for topic, recorded_ns, cdr in unwritten:
                self._writer.write(topic, recorded_ns, cdr)

    def _recorder_of(self, name: str, topic: str) -> Any:
        def record(cdr: bytes) -> None:
            received_ns, recorded_ns = time.monotonic_ns(), time.time_ns()
            with self._lock:
                if name in _FEATURES:
                    self._features.append(ReceivedFeatures(stamp_ns_from_cdr(cdr), received_ns))
                elif name == "engine_health":
                    self._health = (received_ns, cdr)
                if self._writer is not None:
                    self._unwritten.append((topic, recorded_ns, cdr))

        return record
