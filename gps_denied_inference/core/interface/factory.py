"""Who makes message objects: rclpy's generated classes on the vehicle, rosbags' dataclasses without ROS."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["MessageFactory"]


class MessageFactory(Protocol):
    """Makes messages of one implementation. Messages are typed Any: their classes are generated."""

    def make(self, name: str, **fields: Any) -> Any:
        """Return a message of this package, e.g. `GlobalDescriptor`, with every field given."""
        ...

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        """Return a `std_msgs/Header`."""
        ...

    def floats(self, values: NDArray[np.float32]) -> Any:
        """Return what a `float32[]` field takes, holding a copy of `values`, any shape, row-major."""
        ...

    def integers(self, values: NDArray[np.int32]) -> Any:
        """Return what an `int32[]` field takes, holding a copy of `values`, any shape, row-major."""
        ...

    def octets(self, values: NDArray[np.uint8]) -> Any:
        """Return what a `uint8[]` field takes, holding a copy of `values`."""
        ...
