"""A camera that sends to a node, and hears its answers. Needs ROS.

A process of its own: Fast DDS reads its profile once a process, so the transport could not be changed from run to run.
"""

from __future__ import annotations

import ctypes
import json
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from gps_denied_inference.cli.benchmarks.processor_time import processor_seconds
from gps_denied_inference.core.errors import ReplayError
from gps_denied_inference.ros.allocator import keep_large_buffers
from gps_denied_inference.ros.serialized_message import SerializedMessage

__all__ = ["Answer", "Camera", "Traffic", "run_traffic"]

_STAMP = struct.Struct("<iI")
_STAMP_OFFSET = 4  # behind the encapsulation header
_CONNECT_TIMEOUT_S = 15.0
_SETTLE_S = 1.0
_DRAIN_S = 1.5
_ANSWER_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Camera:
    """What is sent.

    Attributes:
        height, width: pixels.
        encoding: `rgb8` or `mono8`.
        rate_hz: images a second; 0: each when the last was answered.
        count: of images.
        is_reliable: the offered QoS.
    """

    height: int
    width: int
    encoding: str
    rate_hz: float
    count: int
    is_reliable: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, in the order of the images. The stages are as the node says.

    Attributes:
        stamp_ns: of the image: taken right before it was published.
        published_ns: when the node handed the answer to DDS: the source timestamp. Same clock, same computer.
        heard_ns: when the camera's callback had it.
        wait_ms, decode_ms, preprocess_ms, infer_ms, postprocess_ms, total_ms: the stages; those that a node does not
            tell are 0.
    """

    stamp_ns: int
    published_ns: int
    heard_ns: int
    wait_ms: float
    decode_ms: float
    preprocess_ms: float
    infer_ms: float
    postprocess_ms: float
    total_ms: float

    @property
    def latency_ms(self) -> float:
        """Stamp → published."""
        return (self.published_ns - self.stamp_ns) / 1e6

    @property
    def heard_after_ms(self) -> float:
        """Stamp → heard by the camera."""
        return (self.heard_ns - self.stamp_ns) / 1e6


_STAGES = tuple(field.name for field in fields(Answer) if field.name.endswith("_ms"))


@dataclass(frozen=True, slots=True)
class Traffic:
    """What came of it.

    Attributes:
        sent: images.
        answers: that were heard, in the order of their stamps.
        sender_ms: what it cost the camera to publish each image.
        node_cpu_s: seconds of processor that the node used while images were sent.
        duration_s: for how long they were.
    """

    sent: int
    answers: tuple[Answer, ...]
    sender_ms: tuple[float, ...]
    node_cpu_s: float
    duration_s: float

    def overhead_ms(self) -> list[float]:
        """Stamp → published less the network's own time, of each answer."""
        return [answer.latency_ms - answer.infer_ms for answer in self.answers]

    def inside_ms(self) -> list[float]:
        """Reception → end of postprocessing less the network, as the node says."""
        return [answer.total_ms - answer.infer_ms for answer in self.answers]

    def cpu_percent(self) -> float:
        """Of one core."""
        return 100.0 * self.node_cpu_s / self.duration_s

    def cpu_percent_beside(self, model_cpu_s: float) -> float:
        """Of one core, without what the network takes by itself for each answer, seconds of processor."""
        return 100.0 * (self.node_cpu_s - len(self.answers) * model_cpu_s) / self.duration_s


def run_traffic(camera: Camera, node_pid: int, environment: Mapping[str, str]) -> Traffic:
    """Send at the camera's rate, stamped with the moment of sending.

    Args:
        camera: what is sent.
        node_pid: of the node that answers.
        environment: of the camera's process.

    Raises:
        ReplayError: nobody subscribes to `image`, or nobody publishes `global_descriptor`.
    """
    command = [sys.executable, "-m", __name__, json.dumps(asdict(camera)), str(node_pid)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    if done.returncode:
        raise ReplayError(f"the camera failed: {' '.join(done.stderr.strip().splitlines()[-1:])}")
    figures = json.loads(done.stdout.splitlines()[-1])
    answers = sorted((Answer(**answer) for answer in figures.pop("answers")), key=lambda answer: answer.stamp_ns)
    return Traffic(answers=tuple(answers), **figures)


def _send(camera: Camera, node_pid: int) -> Traffic:
    # Fast DDS copies what is published into fresh memory; page faults would be no property of any node that receives.
    keep_large_buffers()
    import rclpy
    from rclpy.context import Context
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.node import Node
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from rclpy.serialization import serialize_message
    from rclpy.signals import SignalHandlerOptions
    from sensor_msgs.msg import Image

    from gps_denied_inference.msg import GlobalDescriptor

    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = Node("gdi_bench_camera", context=context)
    reliability = ReliabilityPolicy.RELIABLE if camera.is_reliable else ReliabilityPolicy.BEST_EFFORT
    publisher: Any = node.create_publisher(Image, "image", QoSProfile(depth=2, reliability=reliability))
    heard: list[Answer] = []
    is_answered = threading.Event()

    def on_answer(answer: Any, info: dict[str, int]) -> None:
        now_ns = time.time_ns()
        stamp_ns = answer.header.stamp.sec * 1_000_000_000 + answer.header.stamp.nanosec
        stages = {name: float(getattr(answer.timings, name)) for name in _STAGES}
        heard.append(Answer(stamp_ns, info["source_timestamp"], now_ns, **stages))
        is_answered.set()

    node.create_subscription(GlobalDescriptor, "global_descriptor", on_answer, 10)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            executor.spin_once(timeout_sec=0.1)

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + _CONNECT_TIMEOUT_S
        while not (publisher.get_subscription_count() and node.count_publishers("global_descriptor")):
            if time.monotonic() > deadline:
                raise ReplayError(f"no node subscribed to 'image' within {_CONNECT_TIMEOUT_S:g} s; see its log")
            time.sleep(0.02)
        time.sleep(_SETTLE_S)
        cdr = ctypes.create_string_buffer(content := serialize_message(_image(camera)), len(content))
        # As a driver in C++ does it: rclpy would copy the image once more before it is handed over.
        publish, serialized = ctypes.CDLL("librcl.so").rcl_publish_serialized_message, SerializedMessage.of(cdr)
        publish.argtypes = (ctypes.c_void_p, ctypes.POINTER(SerializedMessage), ctypes.c_void_p)
        sender_ms = []
        cpu_s, start = processor_seconds(node_pid), time.monotonic()
        for number in range(camera.count):
            if camera.rate_hz > 0:
                time.sleep(max(0.0, start + number / camera.rate_hz - time.monotonic()))
            is_answered.clear()
            now_ns = time.time_ns()
            _STAMP.pack_into(cdr, _STAMP_OFFSET, now_ns // 10**9, now_ns % 10**9)
            with publisher.handle:
                if status := publish(publisher.handle.pointer, serialized, None):
                    raise ReplayError(f"rcl_publish_serialized_message returned {status}")
            sender_ms.append((time.time_ns() - now_ns) / 1e6)
            if camera.rate_hz <= 0:
                is_answered.wait(_ANSWER_TIMEOUT_S)
        if camera.rate_hz > 0:
            time.sleep(max(0.0, start + camera.count / camera.rate_hz - time.monotonic()))
        # Before the last answers are waited for: nothing is sent then, and idle time would dilute the figure.
        cpu_s, duration_s = processor_seconds(node_pid) - cpu_s, time.monotonic() - start
        if camera.rate_hz > 0:
            time.sleep(_DRAIN_S)
    finally:
        stop.set()
        thread.join()
        executor.remove_node(node)
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown(context=context)
    return Traffic(camera.count, tuple(heard), tuple(sender_ms), cpu_s, duration_s)


def _image(camera: Camera) -> Any:
    from sensor_msgs.msg import Image

    channels = 3 if camera.encoding == "rgb8" else 1
    step = camera.width * channels
    message = Image(height=camera.height, width=camera.width, step=step, encoding=camera.encoding)
    message.data.frombytes(np.random.default_rng(0).integers(0, 256, camera.height * step, np.uint8).tobytes())
    return message


if __name__ == "__main__":
    print(json.dumps(asdict(_send(Camera(**json.loads(sys.argv[1])), int(sys.argv[2])))))
