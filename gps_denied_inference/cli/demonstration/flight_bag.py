"""A flight, written as a bag and read back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gps_denied_inference.core.flight import CAMERA_FRAME_ID, CameraPose, FlightPlan, Orthophoto, fly
from gps_denied_inference.core.interface import stamp_ns_from_message
from gps_denied_inference.core.replay import BagReader, BagTopic, BagWriter, TopicQos

__all__ = ["GROUND_TRUTH_TOPIC", "IMAGE_TOPIC", "read_ground_truth", "write_flight_bag"]

IMAGE_TOPIC = "/camera/image/compressed"
GROUND_TRUTH_TOPIC = "/ground_truth/pose"
_IMAGE_TYPE = "sensor_msgs/msg/CompressedImage"
_POSE_TYPE = "geometry_msgs/msg/PoseStamped"
_MAP_FRAME_ID = "map"


def write_flight_bag(path: Path, orthophoto: Orthophoto, plan: FlightPlan, show: Callable[[int], None]) -> None:
    """Fly the plan and record images and true poses.

    The pose is that of the airframe (x forward, y left, z up) in the frame `map` (x east, y north, z up; origin at the
    south-west corner of the orthophoto, on the ground).

    Raises:
        ReplayError: the bag exists, or cannot be written.
    """
    topics = [
        BagTopic(IMAGE_TOPIC, _IMAGE_TYPE, TopicQos(depth=1, is_reliable=False)),
        BagTopic(GROUND_TRUTH_TOPIC, _POSE_TYPE),
    ]
    with BagWriter(path, topics) as writer:
        types = writer.factory.typestore.types
        for index, frame in enumerate(fly(orthophoto, plan)):
            stamp_ns = frame.pose.stamp_ns
            image = types[_IMAGE_TYPE](
                header=writer.factory.header(stamp_ns, CAMERA_FRAME_ID),
                format="jpeg",
                data=np.frombuffer(frame.jpeg, np.uint8),
            )
            writer.write(IMAGE_TOPIC, stamp_ns, image)
            writer.write(GROUND_TRUTH_TOPIC, stamp_ns, _pose_message(writer, frame.pose))
            show(index + 1)


def _pose_message(writer: BagWriter, pose: CameraPose) -> Any:
    types = writer.factory.typestore.types
    x, y, z, w = pose.orientation_xyzw()
    return types[_POSE_TYPE](
        header=writer.factory.header(pose.stamp_ns, _MAP_FRAME_ID),
        pose=types["geometry_msgs/msg/Pose"](
            position=types["geometry_msgs/msg/Point"](x=pose.x_m, y=pose.y_m, z=pose.height_m),
            orientation=types["geometry_msgs/msg/Quaternion"](x=x, y=y, z=z, w=w),
        ),
    )


def read_ground_truth(path: Path) -> dict[int, tuple[float, float]]:
    """Return the true positions (x, y, metres) of a flight bag by stamp.

    Raises:
        ReplayError: the bag cannot be read.
    """
    truth = {}
    with BagReader(path) as reader:
        for _, message_type, cdr in reader.messages(GROUND_TRUTH_TOPIC):
            message = reader.decode(cdr, message_type)
            position = message.pose.position
            truth[stamp_ns_from_message(message)] = (float(position.x), float(position.y))
    return truth
