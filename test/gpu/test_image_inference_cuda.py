"""Images prepared on the GPU: the features of the plain way, one upload for several engines, memory given back."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import ImageFrame
from gps_denied_inference.core.imaging import SharedDecoder

torch = pytest.importorskip("torch", reason="torch is not installed")
if not torch.cuda.is_available():
    pytest.skip("needs a CUDA GPU", allow_module_level=True)
pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
from gps_denied_inference.core.assembly import assemble_pipeline  # noqa: E402 - needs torch
from gps_denied_inference.core.pipeline import Pipeline  # noqa: E402
from gps_denied_inference.core.runtime.image_upload import ImageUpload  # noqa: E402
from gps_denied_inference.core.settings import settings_from_mapping  # noqa: E402

pytestmark = pytest.mark.gpu

_HEIGHT, _WIDTH = 1080, 1920


def _pipeline(model: str = "efficientnet_lite0_grid", decoder: SharedDecoder | None = None) -> Pipeline:
    settings = settings_from_mapping({"primary.model": model, "primary.device": "cuda:0", "allow_ungated": True})
    return assemble_pipeline(settings, decoder=decoder)


def _frame(seed: int = 0, encoding: str = "rgb8") -> ImageFrame:
    """Smooth, as photographs are: on white noise a grey level of rounding is a large share of what is left."""
    coarse = np.random.default_rng(seed).integers(0, 256, (27, 48, 3), np.uint8)
    image = np.repeat(np.repeat(coarse, 40, axis=0), 40, axis=1)
    return ImageFrame(seed, "camera", encoding, _HEIGHT, _WIDTH, 3 * _WIDTH, False, image.reshape(-1))


def _cosine(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    return float(np.dot(first, second) / (np.linalg.norm(first) * np.linalg.norm(second)))


def test_descriptors_are_those_of_images_prepared_on_the_cpu() -> None:
    with _pipeline() as on_device, _pipeline() as plain:
        assert on_device._images is not None
        plain._images = None
        assert "CUDA graph" in on_device.model.configuration.provider
        for seed in range(5):
            taken, expected = (pipeline.process(_frame(seed)) for pipeline in (on_device, plain))
            assert _cosine(taken.features.values, expected.features.values) > 0.9995  # type: ignore[union-attr]
            assert taken.timings.preprocess_ms == 0.0 < expected.timings.preprocess_ms
        again = on_device.process(_frame(4))
        np.testing.assert_array_equal(again.features.values, taken.features.values)  # type: ignore[union-attr]


def test_two_engines_on_one_frame_share_its_upload() -> None:
    decoder = SharedDecoder()
    with _pipeline(decoder=decoder) as first, _pipeline(decoder=decoder) as second:
        first.process(_frame(1, "bgr8"))
        second.process(_frame(2, "bgr8"))
        upload = ImageUpload.of(torch.device("cuda:0"), (_HEIGHT, _WIDTH, 3))
        before = upload.uploads
        frame = _frame(3, "bgr8")
        results = [pipeline.process(frame).features.values for pipeline in (first, second)]  # type: ignore[union-attr]
        assert upload.uploads == before + 1
        np.testing.assert_array_equal(results[0], results[1])


def test_graphs_of_images_give_their_memory_back() -> None:
    def used() -> int:
        torch.cuda.synchronize()
        free, total = torch.cuda.mem_get_info()
        return int(total - free)

    def fly() -> None:
        with _pipeline() as pipeline:
            for seed in range(3):
                pipeline.process(_frame(seed))

    fly()
    before = used()
    for _ in range(4):
        fly()
    assert used() - before < 8 * 1024**2
