from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_frames import (
    block_interiors,
    four_block_image,
    frame_of,
    luma_bt601,
    ycbcr_bt601,
)

from gps_denied_inference.core.contracts import ColorSpace, ImageFrame
from gps_denied_inference.core.errors import ImageDecodeError, UnsupportedEncodingError
from gps_denied_inference.core.imaging import ENCODINGS, decode

GRAY_ENCODINGS = ("mono8", "mono16", "8UC1", "16UC1")
YUV_ENCODINGS = ("uyvy", "yuv422", "yuyv", "yuv422_yuy2", "nv12", "nv21", "nv24")


@pytest.mark.parametrize("is_bigendian", [False, True])
@pytest.mark.parametrize("padding", [0, 1, 6])
@pytest.mark.parametrize("name", ENCODINGS)
def test_every_encoding_gives_the_colors_that_were_encoded(name: str, padding: int, is_bigendian: bool) -> None:
    rgb = four_block_image()
    image = decode(frame_of(rgb, name, padding=padding, is_bigendian=is_bigendian), ColorSpace.RGB)
    expected = rgb.astype(np.float64)
    if name in GRAY_ENCODINGS:
        expected = np.rint(luma_bt601(rgb))[..., np.newaxis].repeat(3, axis=2)
    assert image.shape == rgb.shape
    assert image.dtype == np.uint8
    # YUV was rounded to 8 bits on the way, and OpenCV's integer arithmetic adds its own rounding.
    tolerance = 3 if name in YUV_ENCODINGS else 0
    assert np.abs(block_interiors(image) - block_interiors(expected)).max() <= tolerance


@pytest.mark.parametrize("is_bigendian", [False, True])
@pytest.mark.parametrize("padding", [0, 1, 6])
@pytest.mark.parametrize("name", ENCODINGS)
def test_every_encoding_gives_the_luma_that_was_encoded(name: str, padding: int, is_bigendian: bool) -> None:
    rgb = four_block_image()
    image = decode(frame_of(rgb, name, padding=padding, is_bigendian=is_bigendian), ColorSpace.GRAY)
    assert image.shape == (*rgb.shape[:2], 1)
    assert image.dtype == np.uint8
    if name in YUV_ENCODINGS:
        np.testing.assert_array_equal(image[..., 0], ycbcr_bt601(rgb)[..., 0])
    else:
        difference = block_interiors(image[..., 0]) - block_interiors(luma_bt601(rgb))
        # OpenCV demosaics straight to gray with coarser weights, up to 1.1 off in release 4.6.
        assert np.abs(difference).max() <= (1.5 if name.startswith("bayer") else 1)


@pytest.mark.parametrize("name", [name for name, row in ENCODINGS.items() if row.chroma.name == "PER_PIXEL"])
def test_encodings_without_subsampling_keep_every_pixel(name: str) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (7, 11, 3), dtype=np.uint8)
    image = decode(frame_of(rgb, name, padding=3), ColorSpace.RGB)
    expected = rgb if name not in GRAY_ENCODINGS else np.rint(luma_bt601(rgb))[..., np.newaxis].repeat(3, 2)
    np.testing.assert_array_equal(image, expected)


def test_sixteen_bits_become_eight_by_rounding_over_the_whole_range() -> None:
    values = np.arange(65536, dtype="<u2").reshape(256, 256)
    frame = ImageFrame(0, "", "mono16", 256, 256, 512, False, values.reshape(-1).view(np.uint8))
    expected = (values.astype(np.int64) + 128) // 257
    np.testing.assert_array_equal(decode(frame, ColorSpace.GRAY)[..., 0], expected)


def test_byte_order_matters_only_for_wide_samples() -> None:
    frame = frame_of(four_block_image(), "mono16")
    swapped = dataclasses.replace(frame, is_bigendian=True, data=frame.data.reshape(-1, 2)[:, ::-1].reshape(-1))
    np.testing.assert_array_equal(decode(frame, ColorSpace.GRAY), decode(swapped, ColorSpace.GRAY))
    narrow = frame_of(four_block_image(), "bgr8")
    claimed_big = dataclasses.replace(narrow, is_bigendian=True)
    np.testing.assert_array_equal(decode(narrow, ColorSpace.RGB), decode(claimed_big, ColorSpace.RGB))


@pytest.mark.parametrize(
    ("name", "color"),
    [("rgb8", ColorSpace.RGB), ("bgr8", ColorSpace.RGB), ("8UC3", ColorSpace.RGB), ("mono8", ColorSpace.GRAY)],
)
@pytest.mark.parametrize("padding", [0, 5])
def test_images_that_need_no_conversion_are_views_of_the_message(name: str, color: ColorSpace, padding: int) -> None:
    frame = frame_of(four_block_image(), name, padding=padding)
    frame.data.flags.writeable = False
    image = decode(frame, color)
    assert np.shares_memory(image, frame.data)
    assert not image.flags.writeable


def test_views_need_neither_opencv_nor_torch() -> None:
    program = (
        "import sys; sys.modules['cv2'] = sys.modules['torch'] = None\n"
        "import numpy as np\n"
        "from gps_denied_inference.core.contracts import ColorSpace, ImageFrame\n"
        "from gps_denied_inference.core.errors import RuntimeNotAvailableError\n"
        "from gps_denied_inference.core.imaging import choose_resampler, decode\n"
        "frame = ImageFrame(0, '', 'rgb8', 2, 2, 6, False, np.arange(12, dtype=np.uint8))\n"
        "assert decode(frame, ColorSpace.RGB)[1, 1].tolist() == [9, 10, 11]\n"
        "assert choose_resampler().name == 'numpy'\n"
        "try:\n"
        "    decode(frame, ColorSpace.GRAY)\n"
        "except RuntimeNotAvailableError as error:\n"
        "    print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "opencv-python-headless" in result.stdout


def test_data_behind_the_last_row_is_ignored() -> None:
    frame = frame_of(four_block_image(), "bgr8")
    longer = dataclasses.replace(frame, data=np.append(frame.data, np.zeros(9, np.uint8)))
    np.testing.assert_array_equal(decode(longer, ColorSpace.RGB), four_block_image())


@pytest.mark.parametrize("name", ENCODINGS)
def test_missing_bytes_are_refused_with_both_sizes(name: str) -> None:
    frame = frame_of(four_block_image(), name)
    short = dataclasses.replace(frame, data=frame.data[:-1])
    with pytest.raises(ImageDecodeError, match=rf"has {frame.data.size - 1} bytes.* {frame.data.size} "):
        decode(short, ColorSpace.RGB)


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_step_shorter_than_a_row_is_refused(name: str) -> None:
    frame = frame_of(four_block_image(), name)
    narrow = dataclasses.replace(frame, step=frame.step - 1)
    with pytest.raises(ImageDecodeError, match=rf"step of {frame.step - 1} bytes.*at least {frame.step} "):
        decode(narrow, ColorSpace.RGB)


@pytest.mark.parametrize(("height", "width"), [(0, 4), (4, 0), (0, 0), (-1, 4)])
def test_empty_images_are_refused(height: int, width: int) -> None:
    frame = ImageFrame(0, "", "rgb8", height, width, 12, False, np.zeros(48, np.uint8))
    with pytest.raises(ImageDecodeError, match="at least 1"):
        decode(frame, ColorSpace.RGB)


@pytest.mark.parametrize(
    ("name", "height", "width", "reason"),
    [
        ("uyvy", 4, 3, "even width"),
        ("yuyv", 4, 3, "even width"),
        ("nv12", 4, 3, "even width"),
        ("nv12", 3, 4, "even height"),
        ("nv21", 3, 4, "even height"),
        ("bayer_rggb8", 2, 8, "at least 3"),
        ("bayer_grbg16", 8, 2, "at least 3"),
    ],
)
def test_sizes_that_an_encoding_cannot_have_are_refused(name: str, height: int, width: int, reason: str) -> None:
    frame = ImageFrame(0, "", name, height, width, 64, False, np.zeros(64 * 16, np.uint8))
    with pytest.raises(ImageDecodeError, match=reason):
        decode(frame, ColorSpace.RGB)


def test_an_unknown_encoding_is_named_together_with_the_known_ones() -> None:
    frame = ImageFrame(0, "", "32FC1", 2, 2, 8, False, np.zeros(16, np.uint8))
    with pytest.raises(UnsupportedEncodingError, match="32FC1") as caught:
        decode(frame, ColorSpace.RGB)
    assert all(name in str(caught.value) for name in ENCODINGS)


def test_a_compressed_name_in_a_raw_image_points_to_the_transport_parameter() -> None:
    frame = ImageFrame(0, "", "jpeg", 2, 2, 8, False, np.zeros(16, np.uint8))
    with pytest.raises(UnsupportedEncodingError, match="'image_transport' to 'compressed'"):
        decode(frame, ColorSpace.RGB)


@given(
    name=st.sampled_from(sorted(ENCODINGS)),
    height=st.integers(-1, 9),
    width=st.integers(-1, 9),
    step=st.integers(-2, 90),
    size=st.integers(0, 900),
    is_bigendian=st.booleans(),
    color=st.sampled_from(ColorSpace),
)
def test_any_header_gives_an_image_of_its_size_or_a_decode_error(
    name: str, height: int, width: int, step: int, size: int, is_bigendian: bool, color: ColorSpace
) -> None:
    frame = ImageFrame(0, "", name, height, width, step, is_bigendian, np.full(size, 99, np.uint8))
    try:
        image = decode(frame, color)
    except ImageDecodeError:
        return
    assert image.shape == (height, width, color.channels)
    assert image.dtype == np.uint8
