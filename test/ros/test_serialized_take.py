"""What is taken into a reused buffer is what rclpy takes, and nobody's view is ever overwritten."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from gps_denied_inference.core.interface import image_frame_from_cdr
from gps_denied_inference.ros.serialized_take import SerializedTake
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


def _taken(take: Any, subscription: Any) -> Any:
    until = time.monotonic() + 20.0
    while time.monotonic() < until:
        with subscription.handle:
            cdr = take(subscription.handle)
        if cdr is not None:
            return cdr
        time.sleep(0.001)
    raise AssertionError("no message came")


def test_random_messages_are_those_that_rclpy_takes(node: Node) -> None:
    publisher, (first, second) = _connected(node, "random")
    reused, random = SerializedTake(), np.random.default_rng(5)
    for _ in range(30):
        message = _random_image(random)
        publisher.publish(message)
        cdr = _taken(reused.take, first)
        assert cdr.readonly
        assert bytes(cdr) == _taken(lambda handle: handle.take_message(Image, True), second)[0]
        assert image_frame_from_cdr(cdr).data.tobytes() == message.data.tobytes()


def test_views_stay_as_they_are_while_they_are_held(node: Node) -> None:
    publisher, (subscription, _) = _connected(node, "held")
    reused, random = SerializedTake(kept=1), np.random.default_rng(6)
    messages = [_random_image(random) for _ in range(6)]
    frames = []
    for message in messages:
        publisher.publish(message)
        frames.append(image_frame_from_cdr(_taken(reused.take, subscription)))
    held = [frame.data.tobytes() for frame in frames]
    assert held == [message.data.tobytes() for message in messages]
    with subscription.handle:
        assert reused.take(subscription.handle) is None


def test_thread_takes_what_the_executor_leaves_and_outlives_an_error(node: Node) -> None:
    publisher, (subscription, plain) = _connected(node, "served", callback_group=ThreadsOwnGroup())
    reused, taken, all_came = SerializedTake(), [], threading.Event()

    def on_ready(handle: Any) -> None:
        cdr = reused.take(handle)
        assert cdr is not None
        taken.append(bytes(cdr))
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
    sent = [message.data.tobytes() for message in messages]
    assert [image_frame_from_cdr(cdr).data.tobytes() for cdr in taken] == sent
    # Nobody serves the other subscription of such a group: the executor has left its messages alone.
    assert _taken(lambda handle: handle.take_message(Image, True), plain)[0] == taken[0]
    executor.shutdown()
