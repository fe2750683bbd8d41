"""Takes raw images from the middleware with one copy, into messages that are used again.

A serialised take copies an image twice: out of the middleware, and into rcl's buffer. rclpy's raw take copies it a
third time, into a `bytes`, and its typed take into an `array`. rcl's own typed take reads the fields into a C message,
and the pixels are viewed there.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Callable
from dataclasses import astuple
from typing import Any

import numpy as np
from rclpy.serialization import serialize_message
from rclpy.utilities import get_rmw_implementation_identifier
from sensor_msgs.msg import Image

from gps_denied_inference.core.contracts import ImageFrame
from gps_denied_inference.core.interface import image_frame_from_cdr, image_frame_from_message
from gps_denied_inference.ros.serialized_message import SerializedMessage

__all__ = ["ImageTake", "image_take", "plain_image_take"]

_RCL_OK, _RCL_SUBSCRIPTION_TAKE_FAILED = 0, 401  # rcl/types.h


class _Sequence(ctypes.Structure):
    """rosidl_runtime_c__String and rosidl_runtime_c__uint8__Sequence, which have the same fields."""

    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_size_t), ("capacity", ctypes.c_size_t))

    def text(self) -> str:
        """As rclpy converts strings."""
        return ctypes.string_at(self.data, self.size).decode(errors="replace") if self.size else ""


class _Image(ctypes.Structure):
    """sensor_msgs__msg__Image."""

    _fields_ = (
        ("seconds", ctypes.c_int32),
        ("nanoseconds", ctypes.c_uint32),
        ("frame_id", _Sequence),
        ("height", ctypes.c_uint32),
        ("width", ctypes.c_uint32),
        ("encoding", _Sequence),
        ("is_bigendian", ctypes.c_uint8),
        ("step", ctypes.c_uint32),
        ("data", _Sequence),
    )


class ImageTake:
    """Images of one subscription to `sensor_msgs/Image`.

    A message returns to the pool when the last view of its pixels is gone; three serve a frame in work, one that waits,
    and one that is being taken. More are made when more views are kept, and given back to the allocator again.

    Args:
        kept: most messages that stay.

    Raises:
        OSError, AttributeError: a library or a function cannot be found; take the plain way.
        ValueError: the C message has another layout than is known here; take the plain way.
    """

    def __init__(self, kept: int = 3) -> None:
        self._messages = ctypes.CDLL("libsensor_msgs__rosidl_generator_c.so")
        self._take = ctypes.CDLL("librcl.so").rcl_take
        self._take.argtypes = (ctypes.c_void_p, ctypes.POINTER(_Image), ctypes.c_void_p, ctypes.c_void_p)
        self._messages.sensor_msgs__msg__Image__create.restype = ctypes.POINTER(_Image)
        self._messages.sensor_msgs__msg__Image__destroy.argtypes = (ctypes.POINTER(_Image),)
        self._messages.sensor_msgs__msg__Image__destroy.restype = None
        self._rcutils = ctypes.CDLL("librcutils.so")
        self._kept = kept
        self._free: list[Any] = []
        # Re-entrant: the collector may end a view, which gives its message back, at any moment of this thread.
        self._lock = threading.RLock()
        self._check_layout()

    def take(self, subscription_handle: Any) -> ImageFrame | None:
        """Take the next image; other threads run meanwhile.

        Args:
            subscription_handle: rclpy's, in use by the caller (`with subscription.handle`).

        Returns:
            The frame; its data, shape (bytes,), are read-only, and their memory is used again once no view of them is
            left. None when nothing came, or something that the middleware could not read.

        Raises:
            RuntimeError: rcl failed.
        """
        message = self._message()
        status = self._take(subscription_handle.pointer, message, None, None)
        if status != _RCL_OK:
            self._give_back(message)
            self._rcutils.rcutils_reset_error()
            if status == _RCL_SUBSCRIPTION_TAKE_FAILED:
                return None
            raise RuntimeError(f"rcl_take returned {status}")
        return self._frame(message)

    def _frame(self, message: Any) -> ImageFrame:
        image = message.contents
        if image.data.size:
            view = (ctypes.c_uint8 * image.data.size).from_address(image.data.data)
            weakref.finalize(view, self._give_back, message).atexit = False
            pixels = np.frombuffer(memoryview(view).toreadonly(), np.uint8)
        else:
            pixels = np.empty(0, np.uint8)
        frame = ImageFrame(
            stamp_ns=image.seconds * 1_000_000_000 + image.nanoseconds,
            frame_id=image.frame_id.text(),
            encoding=image.encoding.text(),
            height=image.height,
            width=image.width,
            step=image.step,
            is_bigendian=bool(image.is_bigendian),
            data=pixels,
        )
        if not image.data.size:
            self._give_back(message)
        return frame

    def _message(self) -> Any:
        with self._lock:
            if self._free:
                return self._free.pop()
        message = self._messages.sensor_msgs__msg__Image__create()
        if not message:
            raise MemoryError("no memory for an image")
        return message

    def _give_back(self, message: Any) -> None:
        with self._lock:
            if len(self._free) < self._kept:
                self._free.append(message)
                return
        self._messages.sensor_msgs__msg__Image__destroy(message)

    def _check_layout(self) -> None:
        """Let the middleware read a known image into a C message, and compare."""
        sent = Image(height=2, width=3, encoding="rgb8", is_bigendian=1, step=9, data=bytes(range(18)))
        sent.header.frame_id, sent.header.stamp.sec, sent.header.stamp.nanosec = "camera", -5, 7
        content = serialize_message(sent)
        rmw = ctypes.CDLL(f"lib{get_rmw_implementation_identifier()}.so")
        kind = ctypes.CDLL("libsensor_msgs__rosidl_typesupport_c.so")
        type_support = kind.rosidl_typesupport_c__get_message_type_support_handle__sensor_msgs__msg__Image
        type_support.restype = ctypes.c_void_p
        rmw.rmw_deserialize.argtypes = (ctypes.POINTER(SerializedMessage), ctypes.c_void_p, ctypes.POINTER(_Image))
        buffer = ctypes.create_string_buffer(content, len(content))
        serialized = SerializedMessage.of(buffer)
        message = self._message()
        status = rmw.rmw_deserialize(ctypes.byref(serialized), type_support(), message)
        if status != _RCL_OK:
            raise ValueError(f"rmw_deserialize returned {status}")
        image = message.contents
        sizes = (image.frame_id.size, image.encoding.size, image.data.size)
        if sizes != (6, 4, 18):  # before any pointer is followed
            raise ValueError(f"a C image has other fields than are known here: sizes {sizes}")
        read, expected = self._frame(message), image_frame_from_message(sent)
        if astuple(read)[:-1] != astuple(expected)[:-1] or read.data.tobytes() != expected.data.tobytes():
            raise ValueError(f"a C image is read as {read}; expected {expected}")

    def __del__(self) -> None:
        for message in getattr(self, "_free", ()):
            self._messages.sensor_msgs__msg__Image__destroy(message)


def image_take(tell: Callable[[str], object]) -> Callable[[Any], ImageFrame | None]:
    """Return `ImageTake.take`, or where that cannot be had `plain_image_take`, and tell why."""
    try:
        return ImageTake().take
    except (OSError, AttributeError, ValueError) as error:
        tell(f"images are taken by rclpy, with two copies more: {error}")
        return plain_image_take


def plain_image_take(subscription_handle: Any) -> ImageFrame | None:
    """The same by rclpy's raw take, which copies three times.

    Raises:
        ImageDecodeError: the middleware uses a representation that `image_frame_from_cdr` cannot read.
    """
    taken = subscription_handle.take_message(Image, True)
    return None if taken is None else image_frame_from_cdr(taken[0])
