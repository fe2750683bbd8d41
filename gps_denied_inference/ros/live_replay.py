"""A bag's images over DDS, at the pace of their recording, to a node that runs somewhere else."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
from builtin_interfaces.msg import Time
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image

from gps_denied_inference.core.contracts import DropReason
from gps_denied_inference.core.errors import ReplayError
from gps_denied_inference.core.interface import RosbagsMessageFactory
from gps_denied_inference.core.pipeline import FrameCounts
from gps_denied_inference.core.replay import BagFormat, BagImage, BagReader, BagWriter, ImageTopic
from gps_denied_inference.ros.output_recorder import (
    OutputRecorder,
    ReceivedFeatures,
    output_bag_topics,
    stamp_ns_from_cdr,
)
from gps_denied_inference.ros.transport_profile import PROFILE_VARIABLES, has_profile, large_image_profile

__all__ = ["LiveReplayOptions", "LiveReplayReport", "SentFrame", "replay_live"]

_IMAGE_CLASSES = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage}
_CLOCK_PERIOD_S = 0.01
_HEALTH_TYPE = "gps_denied_inference/msg/EngineHealth"


@dataclass(frozen=True, slots=True)
class LiveReplayOptions:
    """How a bag is played.

    Attributes:
        rate: 1.0 is the pace of the recording.
        loops: how often the bag is played.
        namespace: of the inference node; images go to its `image` or `image/compressed`.
        image_topic: publish here instead; empty for the above.
        output: bag to record the node's messages into; None records nothing.
        storage: of that bag.
        connect_timeout_s: how long to wait for an active node.
        drain_timeout_s: how long to wait for the last results.
    """

    rate: float = 1.0
    loops: int = 1
    namespace: str = ""
    image_topic: str = ""
    output: Path | None = None
    storage: BagFormat = BagFormat.MCAP
    connect_timeout_s: float = 15.0
    drain_timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class SentFrame:
    """An image that was published.

    Attributes:
        stamp_ns: of its header, as recorded.
        sent_ns: steady clock, when it was handed to DDS.
    """

    stamp_ns: int
    sent_ns: int


@dataclass(frozen=True, slots=True)
class LiveReplayReport:
    """What went out and what came back.

    Attributes:
        image_topic: where the images went.
        sent: in order, all loops.
        received: features messages, in order.
        counts: what the node counted between the first image and the last report; None when it was not heard.
        interruption: why the replay ended before the end of the bag; empty when it did not.
    """

    image_topic: str
    sent: tuple[SentFrame, ...]
    received: tuple[ReceivedFeatures, ...]
    counts: FrameCounts | None
    interruption: str

    def latencies_ms(self) -> list[float]:
        """Milliseconds from handing an image to DDS to receiving its features, in the order of the answers.

        With loops a stamp was sent several times; the last sending before the answer counts.
        """
        latencies = []
        sent_of: dict[int, list[int]] = {}
        for frame in self.sent:
            sent_of.setdefault(frame.stamp_ns, []).append(frame.sent_ns)
        for answer in self.received:
            before = [sent_ns for sent_ns in sent_of.get(answer.stamp_ns, []) if sent_ns <= answer.received_ns]
            if before:
                latencies.append((answer.received_ns - before[-1]) / 1e6)
        return latencies


def replay_live(
    reader: BagReader,
    topic: ImageTopic,
    options: LiveReplayOptions,
    *,
    on_frame: Callable[[int], None] | None = None,
    settle: Callable[[], None] = lambda: None,
) -> LiveReplayReport:
    """Play a topic of a bag to a running node and record what it answers.

    Images keep their stamps; `/clock` shows the bag's time, for nodes with `use_sim_time`.

    Args:
        reader: an open bag.
        topic: of its images.
        options: pace, places and limits.
        on_frame: called after each image with the number sent so far.
        settle: called when the node has counted every image; what is published until it returns is recorded, too.

    Raises:
        ReplayError: no active node answers within the limit, or the output cannot be written.
    """
    # The shared-memory segment belongs to the sender: with the default one 7 of 18 images of 1 MB were lost, with this
    # none. A profile that the user chose stays.
    profile = large_image_profile()
    if profile is not None and not has_profile():
        os.environ[PROFILE_VARIABLES[0]] = str(profile)
    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    writer: BagWriter | None = None
    try:
        if options.output is not None:
            writer = BagWriter(options.output, output_bag_topics(options.namespace), storage=options.storage)
        player = _Player(reader, topic, options, writer, context)
        try:
            report = player.play(on_frame)
            settle()
            return report
        finally:
            player.close()
    finally:
        if writer is not None:
            writer.close()
        rclpy.try_shutdown(context=context)


class _BagDamageError(Exception):
    """The input bag cannot be read further; tells it from an output that cannot be written."""


class _Player:
    def __init__(
        self,
        reader: BagReader,
        topic: ImageTopic,
        options: LiveReplayOptions,
        writer: BagWriter | None,
        context: Context,
    ) -> None:
        self._reader = reader
        self._topic = topic
        self._options = options
        self._typestore: Any = RosbagsMessageFactory().typestore
        self._node = Node("gdi_replay", context=context)
        is_compressed = topic.message_type.endswith("CompressedImage")
        own_name = "image/compressed" if is_compressed else "image"
        name = options.image_topic or f"{options.namespace.rstrip('/')}/{own_name}"
        # Offered as reliable, so that subscribers of either kind match.
        qos = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=10, reliability=ReliabilityPolicy.RELIABLE)
        self._images: Any = self._node.create_publisher(_IMAGE_CLASSES[topic.message_type], name, qos)
        self._clock: Any = self._node.create_publisher(Clock, "/clock", 10)
        self._recorder = OutputRecorder(self._node, options.namespace, writer)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._failure: Exception | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._spin, name="recorder", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._recorder.flush()
        self._executor.remove_node(self._node)
        self._executor.shutdown()
        self._node.destroy_node()

    def play(self, on_frame: Callable[[int], None] | None) -> LiveReplayReport:
        self._await_node()
        before = self._counts()
        already_received = self._recorder.features_count
        sent: list[SentFrame] = []
        interruption = ""
        now_ns = 0
        try:
            for _ in range(self._options.loops):
                now_ns = self._play_once(sent, on_frame)
        except _BagDamageError as error:
            interruption = str(error)
        after = self._drain(now_ns, before, already_received)
        counts = None if after is None or before is None else _difference(after, before)
        received = tuple(self._recorder.features()[already_received:])
        return LiveReplayReport(self._images.topic_name, tuple(sent), received, counts, interruption)

    def _play_once(self, sent: list[SentFrame], on_frame: Callable[[int], None] | None) -> int:
        """Play the bag from its start. Returns the bag's time at the end."""
        first_ns: int | None = None
        now_ns = 0
        for image in self._images_of_bag():
            if first_ns is None:
                first_ns, start = image.recorded_ns, time.monotonic()
            self._sleep_until(first_ns, start, image.recorded_ns)
            now_ns = image.recorded_ns
            self._tick(now_ns)
            sent.append(SentFrame(stamp_ns_from_cdr(image.cdr), time.monotonic_ns()))
            self._images.publish(image.cdr)
            if on_frame is not None:
                on_frame(len(sent))
        return now_ns

    def _images_of_bag(self) -> Iterator[BagImage]:
        try:
            yield from self._reader.images(self._topic)
        except ReplayError as error:
            raise _BagDamageError(str(error)) from error

    def _sleep_until(self, first_ns: int, start: float, due_ns: int) -> None:
        """Wait until the bag's time is `due_ns`, showing it on /clock meanwhile."""
        while True:
            self._keep_up()
            now_ns = first_ns + int((time.monotonic() - start) * 1e9 * self._options.rate)
            remaining_s = (due_ns - now_ns) / 1e9 / self._options.rate
            if remaining_s <= 0:
                return
            self._tick(now_ns)
            time.sleep(min(remaining_s, _CLOCK_PERIOD_S))

    def _tick(self, now_ns: int) -> None:
        self._clock.publish(Clock(clock=Time(sec=now_ns // 10**9, nanosec=now_ns % 10**9)))

    def _await_node(self) -> None:
        """Wait until an image would be received, and its features recorded."""
        deadline = time.monotonic() + self._options.connect_timeout_s
        has_listener = False
        while time.monotonic() < deadline:
            self._keep_up()
            has_listener = self._images.get_subscription_count() > 0
            if has_listener and self._recorder.is_connected and self._recorder.latest_health() is not None:
                return
            time.sleep(0.02)
        waited = f"within {self._options.connect_timeout_s:g} s"
        if not has_listener:
            raise ReplayError(
                f"nobody subscribed to {self._images.topic_name} {waited}; start an inference node, configure and "
                "activate it, and check its namespace and image_transport"
            )
        raise ReplayError(
            f"no inference node in namespace '{self._options.namespace or '/'}' published engine_health and features "
            f"{waited}; configure and activate it"
        )

    def _drain(self, now_ns: int, before: FrameCounts | None, already_received: int) -> FrameCounts | None:
        """Wait until the node has counted every frame and the recorder holds what it published, or the limit is over.

        The node reports once a second. The report must be of a moment after the last image had time to arrive.
        """
        start = time.monotonic()
        settled_ns = time.monotonic_ns() + 500_000_000
        counts = None
        while time.monotonic() - start < self._options.drain_timeout_s:
            self._keep_up()
            self._tick(now_ns + int((time.monotonic() - start) * 1e9 * self._options.rate))
            health = self._recorder.latest_health()
            if health is not None and health[0] > settled_ns:
                counts = self._counts()
                published = counts.published - (before.published if before else 0) if counts else 0
                recorded = self._recorder.features_count - already_received
                if counts is not None and counts.pending == 0 and recorded >= published:
                    return counts
            time.sleep(_CLOCK_PERIOD_S)
        return counts

    def _counts(self) -> FrameCounts | None:
        health = self._recorder.latest_health()
        if health is None:
            return None
        message = self._typestore.deserialize_cdr(health[1], _HEALTH_TYPE)
        dropped = {DropReason(entry.reason): int(entry.count) for entry in message.dropped}
        return FrameCounts(int(message.received), int(message.published), dropped, int(message.pending))

    def _spin(self) -> None:
        while not self._stop.is_set():
            try:
                self._executor.spin_once(timeout_sec=0.1)
            except Exception as error:  # kept for the main thread: this one has nobody to tell
                self._failure = error
                return

    def _keep_up(self) -> None:
        """Write what was recorded, and say so when recording has stopped."""
        if self._failure is not None:
            raise ReplayError(f"recording stopped: {self._failure}") from self._failure
        self._recorder.flush()


def _difference(now: FrameCounts, before: FrameCounts) -> FrameCounts:
    dropped = {reason: count - before.dropped.get(reason, 0) for reason, count in now.dropped.items()}
    return FrameCounts(now.received - before.received, now.published - before.published, dropped, now.pending)
