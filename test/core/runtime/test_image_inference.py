"""Images prepared on the device: the same as on the CPU, uploaded once for all engines. The CPU stands in for it."""

import contextlib
import gc
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="torch is not installed")
from gps_denied_inference.core.contracts import ColorSpace, PreprocessSpec, ResizeMode  # noqa: E402 - needs torch
from gps_denied_inference.core.imaging import Preprocessor  # noqa: E402
from gps_denied_inference.core.runtime.cuda_image_inference import CudaImageInference  # noqa: E402
from gps_denied_inference.core.runtime.device_preparation import DevicePreparation  # noqa: E402
from gps_denied_inference.core.runtime.image_upload import ImageUpload  # noqa: E402
from gps_denied_inference.core.runtime.recording_thread import on_recording_thread  # noqa: E402

_CPU = torch.device("cpu")
_LEVEL = 1.01


class Replayed:
    """Stands in for a graph: runs what would have been recorded."""

    def __init__(self, run: Callable[[], Mapping[str, Any]], _stream: Any) -> None:
        run()
        self._run = run

    def replay(self) -> dict[str, NDArray[np.float32]]:
        return {name: output.numpy().copy() for name, output in self._run().items()}


def _spec(mode: ResizeMode = ResizeMode.STRETCH, color: ColorSpace = ColorSpace.RGB) -> PreprocessSpec:
    count = color.channels
    return PreprocessSpec(
        height=24,
        width=32,
        color=color,
        mean=(120.0, 110.0, 100.0)[:count],
        std=(60.0, 50.0, 40.0)[:count],
        resize_mode=mode,
        pad_value=7,
    )


def _network(inputs: Sequence[Any]) -> dict[str, Any]:
    return {"batch": inputs[0].clone()}


def _inference(spec: PreprocessSpec | None = None, recorder: Any = Replayed) -> CudaImageInference:
    return CudaImageInference(
        "small", _network, spec or _spec(), _CPU, exclusive=contextlib.nullcontext(), recorder=recorder
    )


def _image(height: int = 60, width: int = 100, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


@pytest.mark.parametrize("color", list(ColorSpace))
@pytest.mark.parametrize("mode", list(ResizeMode))
@pytest.mark.parametrize(("height", "width"), [(60, 100), (100, 60), (24, 32), (13, 17), (300, 40)])
def test_device_prepares_as_the_cpu_does_to_within_one_grey_level(
    mode: ResizeMode, color: ColorSpace, height: int, width: int
) -> None:
    spec = _spec(mode, color)
    image = _image(height, width, color.channels)
    expected, _ = Preprocessor(spec).prepare(image)
    prepared = DevicePreparation(spec, height, width, _CPU)(torch.from_numpy(image)).numpy()
    assert prepared.shape == expected.shape and prepared.dtype == np.float32
    levels = np.abs(prepared - expected) * np.array(spec.std, np.float32).reshape(1, -1, 1, 1)
    assert levels.max() < _LEVEL
    # The CPU rounds between its two passes, the device once: on noise one sample in six is a level off.
    assert np.mean(levels > 0.01) < 0.25


def test_each_size_is_recorded_on_the_recording_thread() -> None:
    threads: list[threading.Thread] = []

    def record(run: Callable[[], Mapping[str, Any]], stream: Any) -> Replayed:
        threads.append(threading.current_thread())
        return Replayed(run, stream)

    inference = _inference(recorder=record)
    inference.warm_up()
    for height in (60, 61):
        inference.infer_image(_image(height))
    assert len(threads) == 3 and set(threads) == {on_recording_thread(threading.current_thread)}


def test_image_gives_what_the_prepared_input_gives() -> None:
    inference, image = _inference(), _image()
    for seed in range(3):
        image = _image(seed=seed)
        expected, _ = Preprocessor(_spec()).prepare(image)
        outputs = inference.infer_image(image)
        assert outputs is not None
        assert np.abs(outputs["batch"] - expected).max() * 60.0 < 1.6


def test_channels_in_reverse_are_put_in_order_on_the_device() -> None:
    inference = _inference()
    for seed in range(2):
        image = _image(seed=seed)
        outputs, expected = inference.infer_image(image[:, :, ::-1]), inference.infer_image(image[:, :, ::-1].copy())
        assert outputs is not None and expected is not None
        np.testing.assert_array_equal(outputs["batch"], expected["batch"])


def test_engines_that_take_the_same_array_share_one_upload_and_another_array_is_uploaded() -> None:
    first, second = _inference(), _inference(_spec(ResizeMode.CROP))
    image, equal = _image(), _image()
    upload = ImageUpload.of(_CPU, image.shape)
    before = upload.uploads
    for array, uploads in ((image, 1), (equal, 2), (image, 3)):
        for inference in (first, second, first):
            inference.infer_image(array)
        assert upload.uploads == before + uploads


def test_engine_that_is_loaded_later_is_ready_for_the_sizes_in_use() -> None:
    recorded: list[int] = []

    def record(run: Any, stream: Any) -> Replayed:
        recorded.append(1)
        return Replayed(run, stream)

    gc.collect()  # the stand-ins of other tests, and with them the sizes that they took
    first = _inference(recorder=record)
    first.infer_image(_image())
    second = _inference(recorder=record)
    second.warm_up()
    assert len(recorded) == 2
    second.infer_image(_image())
    assert len(recorded) == 2


def test_size_that_cannot_be_recorded_is_refused_once_with_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    tries: list[int] = []

    def fail(_run: Any, _stream: Any) -> Replayed:
        tries.append(1)
        raise RuntimeError("it waits for the device")

    inference = _inference(recorder=fail)
    with caplog.at_level(logging.WARNING):
        assert inference.infer_image(_image()) is None
        assert inference.infer_image(_image()) is None
    assert len(tries) == 1
    assert "prepared on the CPU, not on the device: it waits for the device" in caplog.text


def test_device_that_prepares_otherwise_than_the_cpu_is_refused(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DevicePreparation, "__call__", lambda self, image: self._border + 1.0)
    with caplog.at_level(logging.WARNING):
        assert _inference().infer_image(_image()) is None
    assert "grey levels away from the CPU" in caplog.text


def test_graphs_of_two_sizes_are_kept_and_no_more() -> None:
    recorded: list[int] = []

    def record(run: Any, stream: Any) -> Replayed:
        recorded.append(1)
        return Replayed(run, stream)

    inference = _inference(recorder=record)
    for height in (60, 61, 60, 61, 62, 60):
        assert inference.infer_image(_image(height)) is not None
    assert len(recorded) == 4


def test_channels_in_reverse_are_turned_round_on_the_device() -> None:
    bgr = _image(seed=3)
    viewed = _inference().infer_image(bgr[:, :, ::-1])
    copied = _inference().infer_image(np.ascontiguousarray(bgr[:, :, ::-1]))
    assert viewed is not None and copied is not None
    np.testing.assert_array_equal(viewed["batch"], copied["batch"])
