"""What is taken into a reused message is what rclpy takes, and nobody's view is ever overwritten."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Iterator
from dataclasses import astuple
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from gps_denied_inference.core.contracts import ImageFrame
from gps_denied_inference.core.interface import image_frame_from_message
from gps_denied_inference.ros import image_take
from gps_denied_inference.ros.image_take import ImageTake, plain_image_take
from gps_denied_inference.ros.subscription_thread import SubscriptionThread, ThreadsOwnGroup

_QOS = QoSProfile(depth=20)


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    context = Context()
    rclpy.init(context=context)
    node = Node("takes", context=context)
    yield node
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def _random_image(random: np.random.Generator) -> Image:
    image = Image(
        height=int(random.integers(0, 2**32)),
        width=int(random.integers(0, 2**32)),
        encoding="".join(map(chr, random.integers(1, 0x2FF, random.integers(0, 9)))),
        is_bigendian=int(random.integers(0, 256)),
        step=int(random.integers(0, 2**32)),
    )
    image.header.frame_id = "".join(map(chr, random.integers(1, 128, random.integers(0, 9))))
    image.header.stamp.sec = int(random.integers(-(2**31), 2**31))
    image.data.frombytes(random.integers(0, 256, random.integers(0, 100_000), np.uint8).tobytes())
    return image


def _connected(node: Node, topic: str, **options: Any) -> tuple[Any, list[Any]]:
    publisher = node.create_publisher(Image, topic, _QOS)
    subscriptions = [node.create_subscription(Image, topic, lambda _: None, _QOS, raw=True, **options) for _ in "ab"]
    until = time.monotonic() + 20.0
    while publisher.get_subscription_count() < len(subscriptions):
        assert time.monotonic() < until
        time.sleep(0.01)
    return publisher, subscriptions


def _taken(take: Any, subscription: Any) -> ImageFrame:
    until = time.monotonic() + 20.0
    while time.monotonic() < until:
        with subscription.handle:
            frame = take(subscription.handle)
        if frame is not None:
            assert isinstance(frame, ImageFrame)
            return frame
        time.sleep(0.001)
    raise AssertionError("no message came")


def _fields(frame: ImageFrame) -> tuple[object, ...]:
    return (*astuple(frame)[:-1], frame.data.tobytes())


def test_random_messages_are_those_that_rclpy_takes(node: Node) -> None:
    publisher, (first, second) = _connected(node, "random")
    reused, random = ImageTake(), np.random.default_rng(5)
    for _ in range(30):
        message = _random_image(random)
        publisher.publish(message)
        frame = _taken(reused.take, first)
        assert not frame.data.flags.writeable
        assert _fields(frame) == _fields(_taken(plain_image_take, second)) == _fields(image_frame_from_message(message))


def test_views_stay_as_they_are_while_they_are_held(node: Node) -> None:
    publisher, (subscription, _) = _connected(node, "held")
    reused, random = ImageTake(kept=1), np.random.default_rng(6)
    messages = [_random_image(random) for _ in range(6)]
    frames = []
    for message in messages:
        publisher.publish(message)
        frames.append(_taken(reused.take, subscription))
    assert [_fields(frame) for frame in frames] == [_fields(image_frame_from_message(message)) for message in messages]
    with subscription.handle:
        assert reused.take(subscription.handle) is None


def test_message_whose_pixels_nobody_views_is_used_again(node: Node) -> None:
    publisher, (subscription, _) = _connected(node, "reused")
    reused = ImageTake()
    made: list[None] = []
    create = reused._messages.sensor_msgs__msg__Image__create

    def count() -> Any:
        made.append(None)
        return create()

    with patch.object(reused, "_messages", MagicMock(wraps=reused._messages, sensor_msgs__msg__Image__create=count)):
        for _ in range(5):
            publisher.publish(_random_image(np.random.default_rng(7)))
            _taken(reused.take, subscription)
    assert not made  # the one of the check at the beginning


def test_unknown_layout_and_missing_libraries_leave_the_plain_way(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    assert image_take.image_take(told.append) != plain_image_take and not told
    fields = [("more", ctypes.c_uint64), *image_take._Image._fields_]
    other = type("_Image", (ctypes.Structure,), {"_fields_": fields})
    with monkeypatch.context() as patched:
        patched.setattr(image_take, "_Image", other)
        assert image_take.image_take(told.append) is plain_image_take
    with monkeypatch.context() as patched:
        patched.setattr(ctypes, "CDLL", MagicMock(side_effect=OSError("librcl.so: cannot open")))
        assert image_take.image_take(told.append) is plain_image_take
    assert "other fields than are known here" in told[0] and "cannot open" in told[1]


def test_thread_takes_what_the_executor_leaves_and_outlives_an_error(node: Node) -> None:
    publisher, (subscription, plain) = _connected(node, "served", callback_group=ThreadsOwnGroup())
    reused, taken, all_came = ImageTake(), [], threading.Event()

    def on_ready(handle: Any) -> None:
        frame = reused.take(handle)
        assert frame is not None
        taken.append(_fields(frame))
        if len(taken) == 3:
            all_came.set()
        raise ValueError("a message that cannot be worked on")

    threads = threading.active_count()
    thread = SubscriptionThread(node, subscription, on_ready)
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    messages = [_random_image(np.random.default_rng(seed)) for seed in range(3)]
    for message in messages:
        publisher.publish(message)
        executor.spin_once(timeout_sec=0.05)
    assert all_came.wait(20.0)
    thread.close()
    thread.close()
    assert threading.active_count() == threads
    assert taken == [_fields(image_frame_from_message(message)) for message in messages]
    # Nobody serves the other subscription of such a group: the executor has left its messages alone.
    assert _fields(_taken(plain_image_take, plain)) == taken[0]
    executor.shutdown()


def test_thread_outlives_a_wait_that_fails(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher, (subscription, _) = _connected(node, "failing", callback_group=ThreadsOwnGroup())
    reused, taken, has_come = ImageTake(), [], threading.Event()

    class FailingOnce(rclpy_implementation.WaitSet):
        calls = 0

        def wait(self, timeout_ns: int) -> None:
            FailingOnce.calls += 1
            if FailingOnce.calls == 1:
                raise RuntimeError("no memory to wait with")
            super().wait(timeout_ns)

    def on_ready(handle: Any) -> None:
        taken.append(reused.take(handle))
        has_come.set()

    monkeypatch.setattr(rclpy_implementation, "WaitSet", FailingOnce)
    thread = SubscriptionThread(node, subscription, on_ready)
    publisher.publish(_random_image(np.random.default_rng(9)))
    assert has_come.wait(20.0)
    thread.close()
    assert FailingOnce.calls > 1
