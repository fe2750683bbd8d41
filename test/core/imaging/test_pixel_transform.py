from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gps_denied_inference.core.contracts import ColorSpace, PreprocessSpec, ResizeMode
from gps_denied_inference.core.imaging import RESAMPLERS, PixelTransform, Preprocessor
from gps_denied_inference.core.imaging.pixel_transform import resize_geometry

SIZES = st.integers(1, 5000)
COORDINATES = st.floats(-1e4, 1e4, allow_nan=False)


def gray_spec(height: int, width: int, mode: ResizeMode, pad_value: int = 0) -> PreprocessSpec:
    return PreprocessSpec(height, width, ColorSpace.GRAY, (0.0,), (1.0,), mode, pad_value)


@given(
    image=st.tuples(SIZES, SIZES),
    network=st.tuples(st.integers(1, 1000), st.integers(1, 1000)),
    mode=st.sampled_from(ResizeMode),
    points=st.lists(st.tuples(COORDINATES, COORDINATES), max_size=8),
)
def test_mapping_there_and_back_returns_the_point(
    image: tuple[int, int], network: tuple[int, int], mode: ResizeMode, points: list[tuple[float, float]]
) -> None:
    transform = resize_geometry(*image, gray_spec(*network, mode)).pixel_transform
    original = np.array(points, np.float64).reshape(-1, 2)
    forth = transform.network_from_original(original)
    np.testing.assert_allclose(transform.original_from_network(forth), original, rtol=1e-9, atol=1e-6)
    back = transform.original_from_network(original)
    np.testing.assert_allclose(transform.network_from_original(back), original, rtol=1e-9, atol=1e-6)


@given(
    scale_x=st.floats(0.01, 100),
    scale_y=st.floats(0.01, 100),
    x=COORDINATES,
    y=COORDINATES,
)
def test_without_offset_the_map_is_that_of_pixel_centers(scale_x: float, scale_y: float, x: float, y: float) -> None:
    mapped = PixelTransform(scale_x, scale_y).network_from_original(np.array([[x, y]]))
    np.testing.assert_allclose(mapped, [[(x + 0.5) * scale_x - 0.5, (y + 0.5) * scale_y - 0.5]], rtol=1e-12)


@given(image=st.tuples(SIZES, SIZES), network=st.tuples(st.integers(1, 1000), st.integers(1, 1000)))
def test_stretch_maps_corners_to_corners(image: tuple[int, int], network: tuple[int, int]) -> None:
    transform = resize_geometry(*image, gray_spec(*network, ResizeMode.STRETCH)).pixel_transform
    corners = np.array([[-0.5, -0.5], [image[1] - 0.5, image[0] - 0.5]])
    expected = [[-0.5, -0.5], [network[1] - 0.5, network[0] - 0.5]]
    np.testing.assert_allclose(transform.network_from_original(corners), expected, atol=1e-9)


@given(image=st.tuples(SIZES, SIZES), network=st.tuples(st.integers(1, 1000), st.integers(1, 1000)))
def test_letterbox_shows_the_whole_image_centered(image: tuple[int, int], network: tuple[int, int]) -> None:
    geometry = resize_geometry(*image, gray_spec(*network, ResizeMode.LETTERBOX))
    assert (geometry.source_height, geometry.source_width) == image
    assert network[0] == geometry.target_height or network[1] == geometry.target_width
    for size, start, extent in (
        (network[0], geometry.target_top, geometry.target_height),
        (network[1], geometry.target_left, geometry.target_width),
    ):
        assert 1 <= extent <= size
        assert 0 <= (size - start - extent) - start <= 1
    # One pixel of rounding, or the one pixel that a very thin image keeps.
    fitted = image[1] * min(network[0] / image[0], network[1] / image[1])
    assert abs(geometry.target_width - fitted) <= max(0.5, 1 - fitted) + 1e-9


@given(image=st.tuples(SIZES, SIZES), network=st.tuples(st.integers(1, 1000), st.integers(1, 1000)))
def test_crop_fills_the_input_with_the_largest_centered_rectangle(
    image: tuple[int, int], network: tuple[int, int]
) -> None:
    geometry = resize_geometry(*image, gray_spec(*network, ResizeMode.CROP))
    assert (geometry.target_height, geometry.target_width) == network
    assert image[0] == geometry.source_height or image[1] == geometry.source_width
    for size, start, extent in (
        (image[0], geometry.source_top, geometry.source_height),
        (image[1], geometry.source_left, geometry.source_width),
    ):
        assert 1 <= extent <= size
        assert 0 <= (size - start - extent) - start <= 1


@pytest.mark.parametrize("resampler_name", RESAMPLERS)
@pytest.mark.parametrize("mode", ResizeMode)
@pytest.mark.parametrize("network", [(120, 160), (97, 211), (300, 90), (700, 900)])
def test_a_painted_spot_appears_where_the_transform_says(
    network: tuple[int, int], mode: ResizeMode, resampler_name: str
) -> None:
    if resampler_name == "torch":
        pytest.importorskip("torch")
    height, width = 431, 577
    center_x, center_y = 305.3, 190.8
    rows, columns = np.mgrid[0:height, 0:width]
    spot = 250 * np.exp(-((columns - center_x) ** 2 + (rows - center_y) ** 2) / (2 * 12.0**2))
    image = np.rint(spot).astype(np.uint8)[..., np.newaxis]
    preprocessor = Preprocessor(gray_spec(*network, mode), resampler=RESAMPLERS[resampler_name]())
    batch, transform = preprocessor.prepare(image)
    seen = batch[0, 0].astype(np.float64)
    seen_rows, seen_columns = np.mgrid[0 : network[0], 0 : network[1]]
    centroid = np.array([[(seen * seen_columns).sum(), (seen * seen_rows).sum()]]) / seen.sum()
    expected = transform.network_from_original(np.array([[center_x, center_y]]))
    np.testing.assert_allclose(centroid, expected, atol=0.05)
