"""Part (a): take a raw image from DDS to numpy, against one memcpy of its pixels. Needs ROS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gps_denied_inference.cli.benchmarks.measurement import BenchPlan, Comparison, PartReport, Role, Row, row_of
from gps_denied_inference.core.errors import ReplayError

__all__ = ["Taken", "measure", "take_ms"]

_SIZES = {
    "VGA mono8": (480, 640, 1),
    "720p rgb8": (720, 1280, 3),
    "1080p rgb8": (1080, 1920, 3),
    "4K rgb8": (2160, 3840, 3),
}
_TARGET = 2.0
_ROUNDS = 2
_PROCESS_TIMEOUT_S = 300.0
_MEMCPY, _REUSED, _SERIALIZED, _TYPED = "memcpy", "reused", "serialized", "typed"


def measure(plan: BenchPlan) -> PartReport:
    """Each size in processes of its own: an allocator cannot be set back, and old pages must not help the next size."""
    comparisons = []
    for case, (height, width, channels) in _SIZES.items():
        taken = take_ms((height, width, channels), plan)
        comparisons.append(Comparison(case, "ms", (taken.limit, taken.ours, taken.baseline, *taken.others), _TARGET))
    return PartReport("a", "receive", "take → numpy", tuple(comparisons))


class Taken(NamedTuple):
    """The rows of one size."""

    limit: Row
    ours: Row
    baseline: Row
    others: tuple[Row, ...]


def take_ms(shape: tuple[int, int, int], plan: BenchPlan) -> Taken:
    """Take images of this shape, (height, width, channels), in every way."""
    kept: dict[str, list[float]] = {}
    default: dict[str, list[float]] = {}
    rounds = min(_ROUNDS, 1 + plan.repetitions // 10)
    for _ in range(rounds):
        for allocator, samples in (("kept", kept), ("default", default)):
            for name, values in _in_process([allocator, *map(str, shape)], plan, rounds).items():
                samples.setdefault(name, []).extend(values)
    return Taken(
        row_of(Role.LIMIT, "memcpy of the pixels", kept[_MEMCPY]),
        row_of(Role.OURS, "into a reused C message, viewed in place", kept[_REUSED]),
        row_of(Role.BASELINE, "typed message, as cv_bridge views it", default[_TYPED]),
        (
            row_of(Role.ALTERNATIVE, "serialised by rclpy, buffers kept", kept[_SERIALIZED]),
            row_of(Role.ALTERNATIVE, "serialised by rclpy, default allocator", default[_SERIALIZED]),
            row_of(Role.ALTERNATIVE, "typed message, buffers kept", kept[_TYPED]),
        ),
    )


def _in_process(arguments: list[str], plan: BenchPlan, rounds: int) -> dict[str, list[float]]:
    command = [sys.executable, "-m", __name__, *arguments, str(plan.repetitions // rounds), str(plan.warm_up)]
    environment = {**os.environ, "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_PROCESS_TIMEOUT_S, env=environment, check=False
    )
    if done.returncode:
        raise ReplayError(f"the process that takes images failed: {done.stderr.strip().splitlines()[-1:]}")
    result: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return result


def _child(allocator: str, height: int, width: int, channels: int, repetitions: int, warm_up: int) -> None:
    from gps_denied_inference.ros.allocator import keep_large_buffers

    if allocator == "kept":
        keep_large_buffers()
    import rclpy
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image

    from gps_denied_inference.ros.image_take import ImageTake, plain_image_take

    rclpy.init()
    node = rclpy.create_node("gdi_bench_receive")
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
    pixels = np.random.default_rng(0).integers(0, 256, height * width * channels, np.uint8)
    publisher = node.create_publisher(Image, "gdi_bench_image", qos)
    subscriptions: dict[str, Any] = {
        name: node.create_subscription(Image, "gdi_bench_image", lambda _message: None, qos, raw=name != _TYPED)
        for name in (_REUSED, _SERIALIZED, _TYPED)
    }
    message = Image(height=height, width=width, step=width * channels, encoding="rgb8" if channels == 3 else "mono8")
    message.data.frombytes(pixels.data)
    copy = np.empty_like(pixels)
    reused = ImageTake()

    def take_reused(handle: Any) -> Any:
        frame = reused.take(handle)
        return None if frame is None else frame.data

    def take_serialized(handle: Any) -> Any:
        frame = plain_image_take(handle)
        return None if frame is None else frame.data

    def take_typed(handle: Any) -> Any:
        taken = handle.take_message(Image, False)
        # The view is what cv_bridge's imgmsg_to_cv2 makes.
        return None if taken is None else np.ndarray((height, width, channels), np.uint8, buffer=taken[0].data)

    takes: dict[str, Callable[[Any], Any]] = {_REUSED: take_reused, _SERIALIZED: take_serialized, _TYPED: take_typed}
    while publisher.get_subscription_count() < len(subscriptions):
        time.sleep(0.01)
    samples: dict[str, list[float]] = {_MEMCPY: [], **{name: [] for name in takes}}
    for turn in range(warm_up + repetitions):
        publisher.publish(message)
        # In turns: the first finds the caches as the middleware left them.
        for name in takes if turn % 2 == 0 else reversed(takes):
            duration_ms = _timed(takes[name], subscriptions[name], pixels)
            if turn >= warm_up:
                samples[name].append(duration_ms)
        start = time.perf_counter_ns()
        np.copyto(copy, pixels)
        if turn >= warm_up:
            samples[_MEMCPY].append((time.perf_counter_ns() - start) / 1e6)
    node.destroy_node()
    rclpy.shutdown()
    print(json.dumps(samples))


def _timed(take: Callable[[Any], Any], subscription: Any, sent: Any) -> float:
    deadline = time.monotonic() + 10.0
    while time.monotonic() < deadline:
        with subscription.handle:
            start = time.perf_counter_ns()
            pixels = take(subscription.handle)
            if pixels is not None:
                duration_ms = (time.perf_counter_ns() - start) / 1e6
                if pixels.size != sent.size or pixels.reshape(-1)[-1] != sent[-1]:
                    raise SystemExit("the image that came is not the one that was sent")
                return duration_ms
        time.sleep(0.001)
    raise SystemExit("an image did not come within 10 s")


if __name__ == "__main__":
    _child(sys.argv[1], *(int(text) for text in sys.argv[2:]))
