from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gps_denied_inference.core.imaging import RESAMPLERS, Resampler

SIZES = [((1080, 1920), (224, 224)), ((97, 131), (61, 40)), ((30, 50), (480, 640)), ((40, 300), (80, 20))]


def image_of(height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """Noise with black and white edges: what aliases worst."""
    image = np.random.default_rng(6).integers(0, 256, (height, width, channels), dtype=np.uint8)
    image[:, : width // 3] = 255 * (np.indices((height, width // 3)).sum(axis=0) % 2)[..., np.newaxis]
    return image


def reference(image_hwc: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float64]:
    """The triangle filter written as an integral-free double sum, in float64."""

    def weights(source: int, target: int) -> NDArray[np.float64]:
        ratio = source / target
        centers = (np.arange(target)[:, np.newaxis] + 0.5) * ratio
        distance = np.abs(np.arange(source) + 0.5 - centers) / max(ratio, 1.0)
        triangle = np.clip(1.0 - distance, 0.0, None)
        return np.asarray(triangle / triangle.sum(axis=1, keepdims=True), np.float64)

    vertical, horizontal = weights(image_hwc.shape[0], height), weights(image_hwc.shape[1], width)
    planes = [vertical @ image_hwc[..., channel] @ horizontal.T for channel in range(image_hwc.shape[2])]
    return np.stack(planes, axis=-1)


@pytest.fixture(params=list(RESAMPLERS))
def resampler(request: pytest.FixtureRequest) -> Resampler:
    if request.param == "torch":
        pytest.importorskip("torch")
    return RESAMPLERS[request.param]()


def test_every_resampler_knows_its_name_in_the_table(resampler: Resampler) -> None:
    assert type(RESAMPLERS[resampler.name]()) is type(resampler)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("source", "target"), SIZES)
def test_resize_is_within_one_level_of_the_exact_filter(
    resampler: Resampler, source: tuple[int, int], target: tuple[int, int], channels: int
) -> None:
    image = image_of(*source, channels)
    resized = resampler.resize(image, *target)
    assert resized.shape == (*target, channels)
    assert resized.dtype == np.uint8
    assert np.abs(resized - reference(image, *target)).max() <= 1.0


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_the_exact_filter_is_the_one_of_torch_in_float(source: tuple[int, int], target: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    image = image_of(*source, 3)
    batch = torch.from_numpy(image).permute(2, 0, 1)[None].double()
    resized = torch.nn.functional.interpolate(batch, size=target, mode="bilinear", antialias=True)
    np.testing.assert_allclose(reference(image, *target), resized[0].permute(1, 2, 0).numpy(), atol=1e-9)


@given(
    source=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    target=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_all_resamplers_agree_within_one_level_at_any_size(source: tuple[int, int], target: tuple[int, int]) -> None:
    pytest.importorskip("torch")
    image = image_of(*source, 3)
    first, second = (make().resize(image, *target).astype(np.int64) for make in RESAMPLERS.values())
    assert np.abs(first - second).max() <= 1


def test_a_uniform_image_stays_uniform(resampler: Resampler) -> None:
    image = np.full((77, 53, 3), 201, np.uint8)
    np.testing.assert_array_equal(resampler.resize(image, 20, 31), np.full((20, 31, 3), 201))


def test_read_only_and_padded_images_give_the_same_pixels(resampler: Resampler) -> None:
    image = image_of(60, 90, 3)
    padded = np.zeros((60, 100, 3), np.uint8)
    padded[:, :90] = image
    view = padded[:, :90]
    view.flags.writeable = False
    np.testing.assert_array_equal(resampler.resize(view, 31, 47), resampler.resize(image, 31, 47))
    assert not view.flags.writeable


def test_the_result_does_not_share_memory_with_the_image(resampler: Resampler) -> None:
    image = image_of(60, 90, 3)
    assert not np.shares_memory(resampler.resize(image, 30, 45), image)


def test_resizing_leaves_the_thread_settings_of_torch_alone(resampler: Resampler) -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads(), torch.get_num_interop_threads(), torch.is_grad_enabled()
    resampler.resize(image_of(60, 90, 3), 30, 45)
    assert (torch.get_num_threads(), torch.get_num_interop_threads(), torch.is_grad_enabled()) == before
