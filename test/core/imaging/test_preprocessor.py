from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import ColorSpace, PreprocessSpec, ResizeMode
from gps_denied_inference.core.errors import InferenceError, SettingsError
from gps_denied_inference.core.imaging import Preprocessor
from gps_denied_inference.core.imaging.resampling import RESAMPLERS, NumpyResampler

SPEC = PreprocessSpec(24, 32, ColorSpace.RGB, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


def noise(height: int, width: int, channels: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(8).integers(0, 256, (height, width, channels), dtype=np.uint8)


def normalized(image_hwc: NDArray[np.uint8], spec: PreprocessSpec) -> NDArray[np.float64]:
    """The definition, in float64: (1, C, H, W)."""
    planes = (image_hwc - np.array(spec.mean)) / np.array(spec.std)
    return np.asarray(planes.transpose(2, 0, 1)[np.newaxis], np.float64)


def test_an_image_of_the_right_size_is_only_normalized() -> None:
    image = noise(24, 32)
    batch, transform = Preprocessor(SPEC).prepare(image)
    assert batch.shape == (1, 3, 24, 32)
    assert batch.dtype == np.float32
    assert batch.flags.c_contiguous
    np.testing.assert_allclose(batch, normalized(image, SPEC), rtol=1e-6, atol=1e-6)
    points = np.array([[3.0, 4.5]])
    np.testing.assert_allclose(transform.original_from_network(points), points)


@pytest.mark.parametrize("mode", ResizeMode)
@pytest.mark.parametrize("resampler", RESAMPLERS)
@pytest.mark.parametrize("size", [(24, 32), (70, 96), (20, 25)])
def test_reversed_channels_give_the_same_bits_as_a_converted_copy(
    mode: ResizeMode, resampler: str, size: tuple[int, int]
) -> None:
    bgr = noise(*size)
    bgr.flags.writeable = False
    preprocessor = Preprocessor(dataclasses.replace(SPEC, resize_mode=mode), resampler=RESAMPLERS[resampler]())
    viewed = preprocessor.prepare(bgr[:, :, ::-1])[0].copy()
    converted, _ = preprocessor.prepare(np.ascontiguousarray(bgr[:, :, ::-1]))
    np.testing.assert_array_equal(viewed, converted)


def test_stretch_resizes_before_it_normalizes() -> None:
    image = noise(50, 70)
    batch, _ = Preprocessor(SPEC, resampler=NumpyResampler()).prepare(image)
    resized = NumpyResampler().resize(image, 24, 32)
    np.testing.assert_allclose(batch, normalized(resized, SPEC), rtol=1e-6, atol=1e-6)


def test_letterbox_surrounds_the_image_with_the_normalized_pad_value() -> None:
    spec = dataclasses.replace(SPEC, resize_mode=ResizeMode.LETTERBOX, pad_value=114)
    image = noise(24, 16)
    batch, _ = Preprocessor(spec).prepare(image)
    expected = np.full((24, 32, 3), 114, np.uint8)
    expected[:, 8:24] = image
    np.testing.assert_allclose(batch, normalized(expected, spec), rtol=1e-6, atol=1e-6)


def test_crop_keeps_the_middle_of_the_image() -> None:
    spec = dataclasses.replace(SPEC, resize_mode=ResizeMode.CROP)
    image = noise(24, 60)
    batch, transform = Preprocessor(spec).prepare(image)
    np.testing.assert_allclose(batch, normalized(image[:, 14:46], spec), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(transform.original_from_network(np.array([[0.0, 0.0]])), [[14.0, 0.0]])


def test_gray_images_make_one_channel() -> None:
    spec = PreprocessSpec(24, 32, ColorSpace.GRAY, (0.0,), (255.0,))
    image = noise(24, 32, 1)
    batch, _ = Preprocessor(spec).prepare(image)
    np.testing.assert_allclose(batch, normalized(image, spec), rtol=1e-6)


@pytest.mark.parametrize("mode", ResizeMode)
def test_images_may_change_in_size_from_call_to_call(mode: ResizeMode) -> None:
    spec = dataclasses.replace(SPEC, resize_mode=mode, pad_value=30)
    reused = Preprocessor(spec)
    for size in ((24, 16), (80, 30), (24, 32), (10, 90), (80, 30), (80, 30)):
        image = noise(*size)
        batch, transform = reused.prepare(image)
        fresh_batch, fresh_transform = Preprocessor(spec).prepare(image)
        np.testing.assert_array_equal(batch, fresh_batch)
        assert transform == fresh_transform


def test_the_batch_is_overwritten_by_the_next_call_and_the_image_left_alone() -> None:
    preprocessor = Preprocessor(SPEC)
    image = noise(24, 32)
    untouched = image.copy()
    first, _ = preprocessor.prepare(image)
    second, _ = preprocessor.prepare(255 - image)
    assert first is second
    np.testing.assert_array_equal(image, untouched)


def test_two_preprocessors_share_nothing() -> None:
    first, _ = Preprocessor(SPEC).prepare(noise(24, 32))
    second, _ = Preprocessor(SPEC).prepare(noise(24, 32))
    assert not np.shares_memory(first, second)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((24, 32), np.uint8),
        np.zeros((24, 32, 1), np.uint8),
        np.zeros((24, 32, 4), np.uint8),
        np.zeros((24, 32, 3), np.float32),
        np.zeros((0, 32, 3), np.uint8),
    ],
    ids=["no channel axis", "gray", "four channels", "float", "empty"],
)
def test_an_image_of_another_layout_is_refused(image: NDArray[np.uint8]) -> None:
    with pytest.raises(InferenceError, match="color=RGB"):
        Preprocessor(SPEC).prepare(image)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("height", 0),
        ("width", -3),
        ("mean", (1.0,)),
        ("mean", (1.0, float("nan"), 1.0)),
        ("std", (1.0, 1.0)),
        ("std", (1.0, 0.0, 1.0)),
        ("std", (1.0, -2.0, 1.0)),
        ("pad_value", 256),
        ("pad_value", -1),
    ],
)
def test_an_impossible_spec_is_refused_with_field_and_value(field: str, value: Any) -> None:
    with pytest.raises(SettingsError) as caught:
        Preprocessor(dataclasses.replace(SPEC, **{field: value}))
    assert caught.value.field == f"preprocess.{field}"
    assert caught.value.allowed
