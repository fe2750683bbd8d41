"""A camera that sends to a node, and hears its answers. Needs ROS.

A process of its own: Fast DDS reads its profile once a process, so the transport could not be changed from run to run.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gps_denied_inference.core.errors import ReplayError

__all__ = ["Camera", "Traffic", "processor_seconds", "run_traffic"]

_STAMP = struct.Struct("<iI")
_STAMP_OFFSET = 4  # behind the encapsulation header
_CONNECT_TIMEOUT_S = 15.0
_SETTLE_S = 1.0
_DRAIN_S = 1.5


@dataclass(frozen=True, slots=True)
class Camera:
    """What is sent.

    Attributes:
        height, width: pixels.
        encoding: `rgb8` or `mono8`.
        rate_hz: images a second.
        seconds: how long.
        is_reliable: the offered QoS.
    """

    height: int
    width: int
    encoding: str
    rate_hz: float
    seconds: float
    is_reliable: bool


@dataclass(frozen=True, slots=True)
class Traffic:
    """What came of it.

    Attributes:
        sent: images.
        latency_ms: stamp → answer heard, of each answer.
        infer_ms: the network's own time, of each answer.
        node_ms: reception → end of postprocessing less the network, as the node says, of each answer.
        node_cpu_s: seconds of processor that the node used meanwhile.
        duration_s: of the run.
    """

    sent: int
    latency_ms: tuple[float, ...]
    infer_ms: tuple[float, ...]
    node_ms: tuple[float, ...]
    node_cpu_s: float
    duration_s: float

    def overhead_ms(self) -> list[float]:
        """Latency less the network's own time, of each answer."""
        return [total - own for total, own in zip(self.latency_ms, self.infer_ms, strict=True)]

    def cpu_percent_beside_model(self) -> float:
        """Of one core, for a network that runs on one thread."""
        return 100.0 * (self.node_cpu_s - sum(self.infer_ms) / 1e3) / self.duration_s


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
    return Traffic(**json.loads(done.stdout.splitlines()[-1]))


def _send(camera: Camera, node_pid: int) -> Traffic:
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
    heard: list[tuple[float, float, float]] = []

    def on_answer(answer: Any) -> None:
        stamp_ns = answer.header.stamp.sec * 1_000_000_000 + answer.header.stamp.nanosec
        timings = answer.timings
        age_ms = (time.time_ns() - stamp_ns) / 1e6
        heard.append((age_ms, float(timings.infer_ms), float(timings.total_ms - timings.infer_ms)))

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
        cdr = bytearray(serialize_message(_image(camera)))
        heard.clear()
        cpu_s, start = processor_seconds(node_pid), time.monotonic()
        count = int(camera.rate_hz * camera.seconds)
        for number in range(count):
            time.sleep(max(0.0, start + number / camera.rate_hz - time.monotonic()))
            now_ns = time.time_ns()
            _STAMP.pack_into(cdr, _STAMP_OFFSET, now_ns // 10**9, now_ns % 10**9)
            publisher.publish(bytes(cdr))
        time.sleep(_DRAIN_S)
        cpu_s, duration_s = processor_seconds(node_pid) - cpu_s, time.monotonic() - start
    finally:
        stop.set()
        thread.join()
        executor.remove_node(node)
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown(context=context)
    latencies, own, node_ms = zip(*heard, strict=True) if heard else ((), (), ())
    return Traffic(count, tuple(latencies), tuple(own), tuple(node_ms), cpu_s, duration_s)


def processor_seconds(pid: int) -> float:
    """Processor time that a process has used, seconds (proc(5): fields 14 and 15 of `stat`)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))


def _image(camera: Camera) -> Any:
    from sensor_msgs.msg import Image

    channels = 3 if camera.encoding == "rgb8" else 1
    step = camera.width * channels
    message = Image(height=camera.height, width=camera.width, step=step, encoding=camera.encoding)
    message.data.frombytes(np.random.default_rng(0).integers(0, 256, camera.height * step, np.uint8).tobytes())
    return message


if __name__ == "__main__":
    print(json.dumps(asdict(_send(Camera(**json.loads(sys.argv[1])), int(sys.argv[2])))))
