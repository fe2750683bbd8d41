"""Images from a topic to the worker, with what the diagnostics want to know of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_policy_name_from_kind
from rclpy.utilities import get_rmw_implementation_identifier
from sensor_msgs.msg import CompressedImage, Image

from gps_denied_inference.core.contracts import Frame
from gps_denied_inference.core.errors import ImageDecodeError
from gps_denied_inference.core.health import InputMonitor, InputReading
from gps_denied_inference.core.imaging import ENCODINGS
from gps_denied_inference.core.interface import (
    compressed_frame_from_message,
)
from gps_denied_inference.ros.cv_bridge_fallback import CvBridgeFallback
from gps_denied_inference.ros.image_take import image_take
from gps_denied_inference.ros.subscription_thread import SubscriptionThread, ThreadsOwnGroup

__all__ = ["ImageReception"]

_WAKES_FOR_NOTHING = 3
"""One after the other, and it is no accident any more."""

_DEFAULT_SEGMENT_BYTES = 512 * 1024
"""Shared memory of a Fast DDS participant without a profile (fastdds::rtps, SharedMemTransportDescriptor)."""


class ImageReception:
    """Subscribes to `image` or `image/compressed` and hands each frame on with the time of its reception.

    A thread of its own takes and only wraps the message: the frame views the message's bytes and keeps them alive. Raw
    images are taken into messages that are used again.

    Args:
        node: owns the subscription.
        is_compressed: which of the two topics.
        qos: of the subscription.
        submit: called on the receiving thread with the frame and the steady clock of its reception, ns.
        future_tolerance_ms: how far ahead of the node's clock a stamp may be; read with each image.
    """

    def __init__(
        self,
        node: Node,
        *,
        is_compressed: bool,
        qos: QoSProfile,
        submit: Callable[[Frame, int], None],
        future_tolerance_ms: Callable[[], float],
    ) -> None:
        self._node = node
        self._submit = submit
        self._is_compressed = is_compressed
        self._cv_bridge = CvBridgeFallback()
        self._lock = threading.Lock()  # the executor reads, and tells of time jumps, while images come
        self._received = 0
        self._last_received_ns: int | None = None
        self._stamp_age_ms: float | None = None
        self._encoding = ""
        self._size = ""
        self._image_bytes = 0
        self._is_unreliable_on_fast_dds = (
            qos.reliability is ReliabilityPolicy.BEST_EFFORT and "fastrtps" in get_rmw_implementation_identifier()
        )
        self._time_jumps = 0
        self._qos_incompatibility = ""
        self._is_incompatible_since_last = False
        self._monitor = InputMonitor(future_tolerance_ms=future_tolerance_ms)
        self._subscription: Any = node.create_subscription(
            CompressedImage if is_compressed else Image,
            "image/compressed" if is_compressed else "image",
            lambda _message: None,  # the executor leaves the subscription to the thread
            qos,
            callback_group=ThreadsOwnGroup(),
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible_qos),
            raw=not is_compressed,
        )
        self._jump_handle = node.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True),
            post_callback=self._on_time_jump,
        )
        self._take = image_take(node.get_logger().warning)
        self._taken_nothing = 0
        self._thread = SubscriptionThread(
            node, self._subscription, self._take_compressed if is_compressed else self._take_image
        )

    def reading(self) -> InputReading:
        """Return what is known of the input."""
        publisher_count = self._node.count_publishers(self._subscription.topic_name)
        with self._lock:
            last = self._last_received_ns
            return InputReading(
                topic=self._subscription.topic_name,
                received=self._received,
                seconds_since_last=None if last is None else (time.monotonic_ns() - last) / 1e9,
                stamp_age_ms=self._stamp_age_ms,
                encoding=self._encoding,
                size=self._size,
                time_jumps=self._time_jumps,
                qos_incompatibility=self._qos_incompatibility,
                publisher_count=publisher_count,
                pace=self._monitor.pace(),
                is_incompatible_since_last=self._is_incompatible_since_last,
                can_lose_large_images=self._is_unreliable_on_fast_dds,
                is_larger_than_transport=self._is_unreliable_on_fast_dds and self._image_bytes > _DEFAULT_SEGMENT_BYTES,
            )

    def close(self) -> None:
        """Unsubscribe."""
        self._thread.close()
        self._jump_handle.unregister()
        self._node.destroy_subscription(self._subscription)

    def _take_image(self, handle: Any) -> None:
        frame = self._take(handle)
        if frame is None:
            self._note_nothing_taken()
            return
        received_ns = time.monotonic_ns()
        self._taken_nothing = 0
        self._encoding = frame.encoding
        self._size = f"{frame.width}x{frame.height}"
        if self._encoding and self._encoding not in ENCODINGS and self._cv_bridge.is_available():
            try:
                frame = self._cv_bridge.convert(frame)
            except ImageDecodeError as error:
                # The frame goes on as it is: the pipeline refuses and counts it, with its own sentence.
                self._node.get_logger().warning(str(error), throttle_duration_sec=5.0)
        self._hand_on(frame, received_ns)

    def _note_nothing_taken(self) -> None:
        """The middleware drops what it cannot read; now and then it wakes for an image that is taken already, too."""
        self._taken_nothing += 1
        if self._taken_nothing >= _WAKES_FOR_NOTHING:
            self._node.get_logger().error(
                f"what comes on {self._subscription.topic_name} is no sensor_msgs/Image that the middleware can read, "
                "and never gets here; look at the sender's message type and middleware",
                throttle_duration_sec=5.0,
            )

    def _take_compressed(self, handle: Any) -> None:
        taken = handle.take_message(CompressedImage, False)
        if taken is None:
            return
        message, received_ns = taken[0], time.monotonic_ns()
        self._encoding = str(message.format)
        self._hand_on(compressed_frame_from_message(message), received_ns)

    def _hand_on(self, frame: Frame, received_ns: int) -> None:
        # Not under the lock: the clock may be telling of a jump meanwhile.
        stamp_age_ms = (self._node.get_clock().now().nanoseconds - frame.stamp_ns) / 1e6
        with self._lock:
            self._received += 1
            self._image_bytes = frame.data.size
            self._last_received_ns = received_ns
            self._is_incompatible_since_last = False
            self._stamp_age_ms = stamp_age_ms
            self._monitor.note(received_ns, frame.stamp_ns, stamp_age_ms, encoding=self._encoding, size=self._size)
        self._submit(frame, received_ns)

    def _on_incompatible_qos(self, event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        self._qos_incompatibility = f"policy {policy}, {event.total_count} times"
        self._is_incompatible_since_last = True
        self._node.get_logger().warning(
            f"a publisher of {self._subscription.topic_name} offers a QoS that this node does not accept "
            f"({self._qos_incompatibility}); set input_reliability to match it"
        )

    def _on_time_jump(self, _jump: Any) -> None:
        # A looped bag or a restarted simulation: ages computed before are of another time.
        with self._lock:
            self._time_jumps += 1
            self._monitor.forget_stamp()
            self._stamp_age_ms = None
