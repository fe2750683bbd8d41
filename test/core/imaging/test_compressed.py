from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from synthetic_frames import block_interiors, four_block_image, luma_bt601

from gps_denied_inference.core.contracts import ColorSpace, CompressedFrame
from gps_denied_inference.core.errors import ImageDecodeError, UnsupportedEncodingError
from gps_denied_inference.core.imaging import decode

TEST_DATA = Path(os.environ.get("GDI_TEST_DATA", "../shared/data"))


def compressed(data: bytes, format_name: str = "jpeg") -> CompressedFrame:
    return CompressedFrame(7, "camera", format_name, np.frombuffer(data, np.uint8))


def jpeg_of(image_bgr: NDArray[np.uint8], *options: int) -> bytes:
    return bytes(cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, 98, *options])[1])


def png_of(image: NDArray[np.integer]) -> bytes:
    return bytes(cv2.imencode(".png", image)[1])


def noise_image(height: int = 41, width: int = 57) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def with_segment(jpeg: bytes, marker: int, payload: bytes) -> bytes:
    """Insert a segment behind the start marker."""
    return jpeg[:2] + bytes((0xFF, marker)) + struct.pack(">H", len(payload) + 2) + payload + jpeg[2:]


def exif_with_orientation(orientation: int) -> bytes:
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0" + b"II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)


def png_chunk(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))


def palette_png(indices: NDArray[np.uint8], palette: NDArray[np.uint8]) -> bytes:
    height, width = indices.shape
    rows = b"".join(b"\0" + row.tobytes() for row in indices)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
        + png_chunk(b"PLTE", palette.tobytes())
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "options",
    [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)],
    ids=["baseline", "progressive", "restart markers"],
)
def test_a_jpeg_keeps_its_colors_and_luma(options: tuple[int, ...]) -> None:
    rgb = four_block_image()
    frame = compressed(jpeg_of(rgb[:, :, ::-1], *options))
    color = block_interiors(decode(frame, ColorSpace.RGB))
    # Chroma is stored at half resolution, so only the middle of a block keeps its colour.
    assert np.abs(color - block_interiors(rgb)).mean() < 6
    gray = block_interiors(decode(frame, ColorSpace.GRAY)[..., 0])
    assert np.abs(gray - block_interiors(luma_bt601(rgb))).max() < 6


@pytest.mark.parametrize("color", ColorSpace)
def test_a_gray_jpeg_serves_both_color_spaces(color: ColorSpace) -> None:
    gray = np.tile(np.arange(0, 240, 4, dtype=np.uint8), (40, 1))
    image = decode(compressed(jpeg_of(gray)), color)
    assert image.shape == (40, 60, color.channels)
    assert np.abs(image.astype(np.int64) - gray[..., np.newaxis]).max() <= 3


def test_a_png_is_exact_in_every_pixel_format() -> None:
    rgb = noise_image()
    bgr = np.ascontiguousarray(rgb[:, :, ::-1])
    alpha = np.concatenate((bgr, np.full((*bgr.shape[:2], 1), 9, np.uint8)), axis=-1)
    for stored in (bgr, alpha, bgr.astype(np.uint16) * 257, alpha.astype(np.uint16) * 257):
        np.testing.assert_array_equal(decode(compressed(png_of(stored), "png"), ColorSpace.RGB), rgb)
        gray = decode(compressed(png_of(stored), "png"), ColorSpace.GRAY)[..., 0]
        assert np.abs(gray - luma_bt601(rgb)).max() <= 1


def test_a_gray_png_is_exact_in_eight_and_sixteen_bits() -> None:
    wide = np.random.default_rng(4).integers(0, 65536, (20, 30), dtype=np.uint16)
    rounded = ((wide.astype(np.int64) + 128) // 257).astype(np.uint8)
    for stored in (wide, rounded):
        gray = decode(compressed(png_of(stored), "mono16; png compressed "), ColorSpace.GRAY)
        np.testing.assert_array_equal(gray[..., 0], rounded)
        color = decode(compressed(png_of(stored), "mono16; png compressed "), ColorSpace.RGB)
        np.testing.assert_array_equal(color, rounded[..., np.newaxis].repeat(3, axis=2))


def test_a_palette_png_shows_the_palette_colors() -> None:
    palette = np.array(((200, 90, 20), (30, 170, 240)), np.uint8)
    indices = np.random.default_rng(5).integers(0, 2, (6, 5), dtype=np.uint8)
    image = decode(compressed(palette_png(indices, palette), "png"), ColorSpace.RGB)
    np.testing.assert_array_equal(image, palette[indices])


def test_a_gray_png_with_alpha_shows_its_gray() -> None:
    gray = np.random.default_rng(9).integers(0, 256, (6, 5), dtype=np.uint8)
    rows = b"".join(b"\0" + np.stack((row, np.full_like(row, 128)), axis=1).tobytes() for row in gray)
    data = (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 5, 6, 8, 4, 0, 0, 0))
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )
    np.testing.assert_array_equal(decode(compressed(data, "png"), ColorSpace.GRAY)[..., 0], gray)


@pytest.mark.parametrize(
    "format_name",
    ["jpeg", "png", "", "rgb8; jpeg compressed bgr8", "bayer_rggb8; jpeg compressed bgr8", "jpg"],
)
def test_the_leading_bytes_decide_and_not_the_format_string(format_name: str) -> None:
    data = png_of(noise_image()[:, :, ::-1])
    image = decode(compressed(data, format_name), ColorSpace.RGB)
    np.testing.assert_array_equal(image, noise_image())


@pytest.mark.parametrize("color", ColorSpace)
def test_exif_orientation_is_not_applied(color: ColorSpace) -> None:
    plain = jpeg_of(noise_image())
    rotated = with_segment(plain, 0xE1, exif_with_orientation(6))
    turned_by_opencv = cv2.imdecode(np.frombuffer(rotated, np.uint8), cv2.IMREAD_COLOR)
    assert turned_by_opencv is not None
    assert turned_by_opencv.shape[:2] == (57, 41), "the test's EXIF segment must be one that OpenCV obeys"
    np.testing.assert_array_equal(decode(compressed(rotated), color), decode(compressed(plain), color))


@given(cut=st.floats(0, 1, exclude_max=True), progressive=st.booleans())
@example(cut=0.9999, progressive=False)
def test_a_truncated_jpeg_is_refused_wherever_it_breaks_off(cut: float, progressive: bool) -> None:
    thumbnail = jpeg_of(noise_image(8, 8))
    whole = jpeg_of(noise_image(), cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive))
    whole = with_segment(whole, 0xE1, b"Exif\0\0" + thumbnail)
    decode(compressed(whole), ColorSpace.RGB)
    with pytest.raises(ImageDecodeError, match=r"is truncated|no data|neither JPEG"):
        decode(compressed(whole[: int(cut * len(whole))]), ColorSpace.RGB)


@given(cut=st.floats(0, 1, exclude_max=True))
@example(cut=0.9999)
def test_a_truncated_png_is_refused_wherever_it_breaks_off(cut: float) -> None:
    whole = png_of(noise_image())
    with pytest.raises(ImageDecodeError):
        decode(compressed(whole[: int(cut * len(whole))], "png"), ColorSpace.RGB)


@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@example(position=0.9999, bit=0)
def test_a_png_with_one_flipped_bit_never_gives_other_pixels(position: float, bit: int) -> None:
    data = bytearray(png_of(noise_image()[:, :, ::-1]))
    data[int(position * len(data))] ^= 1 << bit
    try:
        image = decode(compressed(bytes(data), "png"), ColorSpace.RGB)
    except ImageDecodeError:
        return
    # Some releases do not look at the checksum of the empty last chunk.
    np.testing.assert_array_equal(image, noise_image())


@given(tail=st.binary(max_size=4000))
def test_bytes_behind_the_end_of_a_jpeg_are_ignored(tail: bytes) -> None:
    data = jpeg_of(noise_image())
    expected = decode(compressed(data), ColorSpace.RGB)
    np.testing.assert_array_equal(decode(compressed(data + tail), ColorSpace.RGB), expected)


@given(data=st.binary(max_size=300), prefix=st.sampled_from((b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")))
def test_arbitrary_bytes_are_refused_by_our_own_error(data: bytes, prefix: bytes) -> None:
    with pytest.raises(ImageDecodeError):
        decode(compressed(prefix + data), ColorSpace.RGB)


def test_fill_bytes_before_a_marker_are_stepped_over() -> None:
    thumbnail = jpeg_of(noise_image(8, 8))
    plain = jpeg_of(noise_image())
    whole = with_segment(plain, 0xE1, b"Exif\0\0" + thumbnail)
    filled = whole[:2] + b"\xff\xff" + whole[2:]
    np.testing.assert_array_equal(decode(compressed(filled), ColorSpace.RGB), decode(compressed(plain), ColorSpace.RGB))
    with pytest.raises(ImageDecodeError, match="end marker"):
        decode(compressed(filled[:-2]), ColorSpace.RGB)


def test_a_damaged_header_is_refused_with_the_opencv_verdict() -> None:
    data = jpeg_of(noise_image())
    frame_header = data.index(b"\xff\xc0")
    broken = data[: frame_header + 5] + b"\0\0\0\0" + data[frame_header + 9 :]
    with pytest.raises(ImageDecodeError, match="OpenCV cannot decode"):
        decode(compressed(broken), ColorSpace.RGB)


def test_an_empty_message_is_refused() -> None:
    with pytest.raises(ImageDecodeError, match="no data"):
        decode(compressed(b""), ColorSpace.RGB)


def test_a_depth_image_is_refused_by_its_format() -> None:
    data = b"\0" * 12 + png_of(np.zeros((4, 4), np.uint16))
    with pytest.raises(UnsupportedEncodingError, match="depth image"):
        decode(compressed(data, "16UC1; compressedDepth png"), ColorSpace.GRAY)


def test_another_file_format_is_named_by_its_first_bytes() -> None:
    with pytest.raises(UnsupportedEncodingError, match=r"'webp'.*52 49 46 46.*image_transport"):
        decode(compressed(b"RIFF\x10\0\0\0WEBPVP8 ", "webp"), ColorSpace.RGB)


def test_frames_of_a_real_camera_decode_to_their_full_size() -> None:
    files = sorted((TEST_DATA / "brighton_beach").glob("DJI_*.jpg"))
    if not files:
        pytest.skip(f"no real images below {TEST_DATA}: set GDI_TEST_DATA")
    for file in files[:3]:
        frame = compressed(file.read_bytes())
        image = decode(frame, ColorSpace.RGB)
        assert image.shape == (1125, 2000, 3)
        gray = decode(frame, ColorSpace.GRAY)[..., 0]
        # OpenCV's luma is rounded, and colours that JPEG pushed out of range were clipped.
        assert np.abs(gray - luma_bt601(image)).mean() < 1
