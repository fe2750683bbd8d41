"""`sensor_msgs/Image` read where it lies: the view of a serialised message copies no pixel.

In a process that keeps its freed buffers this is as quick as rclpy's own message (docs/performance.md, part a); with
the default allocator it saves a third. Bytes that are no image are counted as undecodable, where rclpy would raise in
the executor.
"""

from __future__ import annotations

import struct

import numpy as np

from gps_denied_inference.core.contracts import ImageFrame
from gps_denied_inference.core.errors import ImageDecodeError

__all__ = ["image_frame_from_cdr"]

_ENCAPSULATION_BYTES = 4
_PLAIN_CDR = {b"\x00\x00": ">", b"\x00\x01": "<"}
"""Representation identifiers of plain CDR (XCDR1), which ROS sends, and the byte order that each means."""


def image_frame_from_cdr(cdr: bytes | memoryview) -> ImageFrame:
    """View a serialised `sensor_msgs/Image` as a frame: read-only data that keep `cdr` alive.

    Args:
        cdr: plain CDR (OMG DDSI-RTPS 2.5, 10.2) of either byte order, with its encapsulation header.

    Raises:
        ImageDecodeError: another representation, or the bytes end before the message does.
    """
    reader = _Reader(cdr)
    seconds, nanoseconds = reader.signed(), reader.unsigned()
    frame_id = reader.text()
    height, width = reader.unsigned(), reader.unsigned()
    encoding = reader.text()
    is_bigendian = reader.octet() != 0
    step = reader.unsigned()
    size = reader.unsigned()
    start = reader.skip(size)
    return ImageFrame(
        stamp_ns=seconds * 1_000_000_000 + nanoseconds,
        frame_id=frame_id,
        encoding=encoding,
        height=height,
        width=width,
        step=step,
        is_bigendian=is_bigendian,
        data=np.frombuffer(cdr, dtype=np.uint8, count=size, offset=start),
    )


class _Reader:
    """Primitive values one after the other, each aligned to its size behind the encapsulation header."""

    def __init__(self, cdr: bytes | memoryview) -> None:
        self._cdr = cdr
        order = _PLAIN_CDR.get(bytes(cdr[:2]))
        if order is None or len(cdr) < _ENCAPSULATION_BYTES:
            raise ImageDecodeError(
                f"a serialised image begins with {bytes(cdr[:_ENCAPSULATION_BYTES]).hex() or 'nothing'}; expected "
                "plain CDR (0000 or 0001): the sender's middleware uses another representation"
            )
        self._unsigned = struct.Struct(f"{order}I")
        self._signed = struct.Struct(f"{order}i")
        self._position = _ENCAPSULATION_BYTES

    def unsigned(self) -> int:
        return int(self._unsigned.unpack_from(self._cdr, self._aligned_word())[0])

    def signed(self) -> int:
        return int(self._signed.unpack_from(self._cdr, self._aligned_word())[0])

    def octet(self) -> int:
        return int(self._cdr[self.skip(1)])

    def text(self) -> str:
        """A string; its length counts the final zero."""
        length = self.unsigned()
        start = self.skip(length)
        try:
            return bytes(self._cdr[start : start + length]).rstrip(b"\x00").decode()
        except UnicodeDecodeError as error:
            raise ImageDecodeError("a serialised image holds a text that is not UTF-8; check its sender") from error

    def skip(self, count: int) -> int:
        """Step over bytes and return where they begin."""
        start = self._position
        if start + count > len(self._cdr):
            raise ImageDecodeError(
                f"a serialised image of {len(self._cdr)} bytes ends before byte {start + count} that its fields ask "
                "for: the message is truncated"
            )
        self._position += count
        return start

    def _aligned_word(self) -> int:
        self._position += -(self._position - _ENCAPSULATION_BYTES) % 4
        return self.skip(4)
