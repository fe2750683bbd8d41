"""Messages without ROS: rosbags' dataclasses, built from the same `.msg` files."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.interface.files import interface_files
from gps_denied_inference.core.optional import require

__all__ = ["RosbagsMessageFactory"]

_PACKAGE = "gps_denied_inference/msg/"


class RosbagsMessageFactory:
    """Satisfies `MessageFactory`.

    Attributes:
        typestore: rosbags' Jazzy type store with our messages registered; serialises and deserialises them.

    Raises:
        RuntimeNotAvailableError: rosbags is not installed.
    """

    def __init__(self) -> None:
        typesys = require("rosbags.typesys", install="pip install rosbags", purpose="reading and writing bags")
        self.typestore: Any = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)
        for name, text in interface_files().items():
            self.typestore.register(typesys.get_types_from_msg(text, _PACKAGE + name))

    def make(self, name: str, **fields: Any) -> Any:
        return self.typestore.types[_PACKAGE + name](**fields)

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        types = self.typestore.types
        stamp = types["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
        return types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)

    def floats(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.ascontiguousarray(values, np.float32).reshape(-1).copy()

    def integers(self, values: NDArray[np.int32]) -> NDArray[np.int32]:
        return np.ascontiguousarray(values, np.int32).reshape(-1).copy()

    def octets(self, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.ascontiguousarray(values, np.uint8).reshape(-1).copy()
