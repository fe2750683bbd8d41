"""Serialised images are read as rosbags and rclpy read them, or refused."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import ImageFrame
from gps_denied_inference.core.errors import ImageDecodeError
from gps_denied_inference.core.interface import RosbagsMessageFactory, image_frame_from_cdr, image_frame_from_message

_TYPE = "sensor_msgs/msg/Image"
_STORE = RosbagsMessageFactory().typestore
_TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), max_size=20)
_WORD = st.integers(0, 2**32 - 1)


def _message(
    frame_id: str = "camera", encoding: str = "rgb8", data: bytes = b"abc", stamp: tuple[int, int] = (1, 2)
) -> object:
    kinds = _STORE.types
    header = kinds["std_msgs/msg/Header"](
        stamp=kinds["builtin_interfaces/msg/Time"](sec=stamp[0], nanosec=stamp[1]), frame_id=frame_id
    )
    values: NDArray[np.uint8] = np.frombuffer(data, np.uint8)
    return kinds[_TYPE](header=header, height=1, width=7, encoding=encoding, is_bigendian=1, step=21, data=values)


def _fields(frame: ImageFrame) -> tuple[object, ...]:
    return (
        frame.stamp_ns, frame.frame_id, frame.encoding, frame.height, frame.width, frame.step, frame.is_bigendian,
        frame.data.tobytes(),
    )  # fmt: skip


@given(
    frame_id=_TEXT,
    encoding=_TEXT,
    data=st.binary(max_size=64),
    stamp=st.tuples(st.integers(-(2**31), 2**31 - 1), _WORD),
    is_little=st.booleans(),
)
def test_any_image_reads_as_its_message(
    frame_id: str, encoding: str, data: bytes, stamp: tuple[int, int], is_little: bool
) -> None:
    message = _message(frame_id, encoding, data, stamp)
    cdr = bytes(_STORE.serialize_cdr(message, _TYPE, little_endian=is_little))
    assert _fields(image_frame_from_cdr(cdr)) == _fields(image_frame_from_message(message))


@given(cut=st.integers(0, 10_000))
def test_a_truncated_image_is_refused(cut: int) -> None:
    cdr = bytes(_STORE.serialize_cdr(_message(data=bytes(range(256))), _TYPE))
    with pytest.raises(ImageDecodeError, match=r"begins with|truncated"):
        image_frame_from_cdr(cdr[: cut % len(cdr)])


@given(noise=st.binary(max_size=80))
def test_noise_is_an_image_or_refused(noise: bytes) -> None:
    try:
        frame = image_frame_from_cdr(b"\x00\x01\x00\x00" + noise)
    except ImageDecodeError:
        return
    assert frame.data.size <= len(noise)


def test_pixels_are_a_read_only_view_of_the_message() -> None:
    cdr = bytes(_STORE.serialize_cdr(_message(data=bytes(1000)), _TYPE))
    data = image_frame_from_cdr(cdr).data
    assert not data.flags.writeable
    assert np.shares_memory(data, np.frombuffer(cdr, np.uint8))


def test_another_representation_is_refused() -> None:
    with pytest.raises(ImageDecodeError, match="plain CDR"):
        image_frame_from_cdr(b"\x00\x07\x00\x00" + struct.pack("<ii", 1, 2))
    with pytest.raises(ImageDecodeError, match="UTF-8"):
        image_frame_from_cdr(b"\x00\x01\x00\x00" + struct.pack("<iIIIII", 1, 2, 4, 0xFFFFFFFF, 1, 1))
