"""Messages of rclpy's generated classes."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from std_msgs.msg import Header

import gps_denied_inference.msg as messages

__all__ = ["RclpyMessageFactory"]


class RclpyMessageFactory:
    """Satisfies `core.interface.MessageFactory`."""

    def make(self, name: str, **fields: Any) -> Any:
        if name == "EngineHealth":
            fields["level"] = int(fields["level"])
        return getattr(messages, name)(**fields)

    def header(self, stamp_ns: int, frame_id: str) -> Header:
        return Header(stamp=Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9), frame_id=frame_id)

    def floats(self, values: NDArray[np.float32]) -> array[float]:
        # The setter takes an array.array as it is; a numpy array it would copy element by element.
        return _array("f", np.ascontiguousarray(values, np.float32))

    def integers(self, values: NDArray[np.int32]) -> array[int]:
        return _array("i", np.ascontiguousarray(values, np.int32))

    def octets(self, values: NDArray[np.uint8]) -> array[int]:
        return _array("B", np.ascontiguousarray(values, np.uint8))


def _array(code: str, values: NDArray[Any]) -> array[Any]:
    result: array[Any] = array(code)
    # A view of no elements cannot be cast.
    if values.size:
        result.frombytes(values.data.cast("B"))
    return result
