"""The node one would write without this package: the baseline of the parts that run whole nodes. Needs ROS.

A typed subscription with a queue, the pixels as cv_bridge views them, OpenCV's plain resize, floats in numpy, ONNX
Runtime on one thread, and the result assigned to the message; everything in the callback.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from gps_denied_inference.msg import GlobalDescriptor

__all__ = ["NaiveNode"]


class NaiveNode(Node):
    """Parameters: `engine` (an ONNX file; empty: `sleep_ms` stands for the network), `reliability`, `depth`."""

    def __init__(self) -> None:
        super().__init__("naive_node")
        engine = str(self.declare_parameter("engine", "").value)
        self._sleep_s = float(self.declare_parameter("sleep_ms", 0.0).value) / 1e3
        reliability = ReliabilityPolicy[str(self.declare_parameter("reliability", "best_effort").value).upper()]
        depth = int(self.declare_parameter("depth", 10).value)
        self._session: Any = None
        self._resize: Any = None
        if engine:
            import cv2
            import onnxruntime

            self._resize = cv2.resize
            options = onnxruntime.SessionOptions()
            # As our node is set in the benchmark: the comparison is of what stands around the network.
            options.intra_op_num_threads = 1
            self._session = onnxruntime.InferenceSession(engine, options, providers=["CPUExecutionProvider"])
        self._publisher = self.create_publisher(GlobalDescriptor, "global_descriptor", 10)
        qos = QoSProfile(depth=depth, reliability=reliability)
        self._subscription = self.create_subscription(Image, "image", self._on_image, qos)
        self.get_logger().info("ready")

    def _on_image(self, message: Any) -> None:
        received = time.monotonic()
        channels = 3 if message.encoding == "rgb8" else 1
        pixels = np.ndarray((message.height, message.width, channels), np.uint8, buffer=message.data)
        start = time.monotonic()
        if self._session is None:
            time.sleep(self._sleep_s)
            values = np.zeros(448, np.float32)
            duration_s = time.monotonic() - start
        else:
            small = self._resize(pixels, (224, 224)).astype(np.float32)
            batch = ((small - 127.0) / 128.0).transpose(2, 0, 1)[None].astype(np.float32)
            start = time.monotonic()
            values = self._session.run(None, {"image": batch})[0][0]
            duration_s = time.monotonic() - start
        answer = GlobalDescriptor(header=message.header, dimension=values.size, values=values, is_valid=True)
        answer.timings.infer_ms = duration_s * 1e3
        answer.timings.total_ms = (time.monotonic() - received) * 1e3
        self._publisher.publish(answer)


def main() -> None:
    """Run it until a signal comes."""
    rclpy.init()
    node = NaiveNode()
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        sys.exit(0)


if __name__ == "__main__":
    main()
