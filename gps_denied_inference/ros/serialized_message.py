"""A serialised message in rcl's own form, without a copy."""

from __future__ import annotations

import ctypes

__all__ = ["SerializedMessage"]


class _Allocator(ctypes.Structure):
    """rcutils_allocator_t."""

    _fields_ = tuple(
        (name, ctypes.c_void_p) for name in ("allocate", "deallocate", "reallocate", "zero_allocate", "state")
    )


class SerializedMessage(ctypes.Structure):
    """rmw_serialized_message_t, which is rcutils_uint8_array_t.

    A view: nothing is freed with it.

    Attributes:
        buffer: address of the bytes, the four of the encapsulation among them.
        buffer_length, buffer_capacity: bytes.
        allocator: rcutils' default one.
    """

    _fields_ = (
        ("buffer", ctypes.c_void_p),
        ("buffer_length", ctypes.c_size_t),
        ("buffer_capacity", ctypes.c_size_t),
        ("allocator", _Allocator),
    )

    @classmethod
    def of(cls, cdr: ctypes.Array[ctypes.c_char]) -> SerializedMessage:
        """View `cdr`, which the caller keeps for as long.

        Raises:
            OSError, AttributeError: rcutils, or its function, cannot be found.
        """
        rcutils = ctypes.CDLL("librcutils.so")
        rcutils.rcutils_get_default_allocator.restype = _Allocator
        return cls(ctypes.addressof(cdr), len(cdr), len(cdr), rcutils.rcutils_get_default_allocator())
