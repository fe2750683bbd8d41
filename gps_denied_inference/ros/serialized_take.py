"""Takes serialised messages into buffers that are used again.

rclpy's raw take copies a message three times, the last two into fresh memory and with Python's interpreter lock held:
out of the middleware, into rcl's buffer, into a `bytes`. Here rcl's buffer is kept and viewed in place.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from typing import Any

__all__ = ["SerializedTake"]

_RCL_OK, _RCL_SUBSCRIPTION_TAKE_FAILED = 0, 401  # rcl/types.h


class _Allocator(ctypes.Structure):
    """rcutils_allocator_t."""

    _fields_ = tuple(
        (name, ctypes.c_void_p) for name in ("allocate", "deallocate", "reallocate", "zero_allocate", "state")
    )


class _SerializedMessage(ctypes.Structure):
    """rmw_serialized_message_t, which is rcutils_uint8_array_t."""

    _fields_ = (
        ("buffer", ctypes.c_void_p),
        ("buffer_length", ctypes.c_size_t),
        ("buffer_capacity", ctypes.c_size_t),
        ("allocator", _Allocator),
    )


class SerializedTake:
    """Messages of one subscription, by rcl's own call.

    A buffer returns to the pool when the last view of it is gone; three serve a frame in work, one that waits, and one
    that is being taken. More are made when more views are kept, and given back to the allocator again.

    Args:
        kept: most buffers that stay.

    Raises:
        OSError, AttributeError: rcl's library or its functions cannot be found; take the plain way.
    """

    def __init__(self, kept: int = 3) -> None:
        rcl, self._rcutils = ctypes.CDLL("librcl.so"), ctypes.CDLL("librcutils.so")
        self._take = rcl.rcl_take_serialized_message
        self._take.argtypes = (ctypes.c_void_p, ctypes.POINTER(_SerializedMessage), ctypes.c_void_p, ctypes.c_void_p)
        self._rcutils.rcutils_get_default_allocator.restype = _Allocator
        self._rcutils.rcutils_uint8_array_init.argtypes = (
            ctypes.POINTER(_SerializedMessage),
            ctypes.c_size_t,
            ctypes.POINTER(_Allocator),
        )
        self._rcutils.rcutils_uint8_array_fini.argtypes = (ctypes.POINTER(_SerializedMessage),)
        self._allocator = self._rcutils.rcutils_get_default_allocator()
        self._kept = kept
        self._free: list[_SerializedMessage] = []
        self._lock = threading.Lock()

    def take(self, subscription_handle: Any) -> memoryview | None:
        """Take the next message; other threads run meanwhile.

        Args:
            subscription_handle: rclpy's, in use by the caller (`with subscription.handle`).

        Returns:
            Its bytes, read-only; their memory is used again once no view of them is left. None when nothing came.

        Raises:
            RuntimeError: rcl failed.
        """
        message = self._buffer()
        status = self._take(subscription_handle.pointer, ctypes.byref(message), None, None)
        if status != _RCL_OK:
            self._give_back(message)
            if status == _RCL_SUBSCRIPTION_TAKE_FAILED:
                return None
            self._rcutils.rcutils_reset_error()
            raise RuntimeError(f"rcl_take_serialized_message returned {status}")
        view = (ctypes.c_uint8 * message.buffer_length).from_address(message.buffer)
        weakref.finalize(view, self._give_back, message).atexit = False
        return memoryview(view).cast("B").toreadonly()

    def _buffer(self) -> _SerializedMessage:
        with self._lock:
            if self._free:
                return self._free.pop()
        message = _SerializedMessage()
        status = self._rcutils.rcutils_uint8_array_init(ctypes.byref(message), 0, ctypes.byref(self._allocator))
        if status != _RCL_OK:
            raise RuntimeError(f"rcutils_uint8_array_init returned {status}")
        return message

    def _give_back(self, message: _SerializedMessage) -> None:
        with self._lock:
            if len(self._free) < self._kept:
                self._free.append(message)
                return
        self._rcutils.rcutils_uint8_array_fini(ctypes.byref(message))

    def __del__(self) -> None:
        for message in self._free:
            self._rcutils.rcutils_uint8_array_fini(ctypes.byref(message))
