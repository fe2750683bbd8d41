"""The CUDA side of the PyTorch runtime. `python -m test.gpu.record FOLDER` writes what was measured."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gps_denied_inference.core.architectures import ArchitectureRegistry
from gps_denied_inference.core.contracts import BuildConfig, EngineHandle, PrecisionMode
from gps_denied_inference.core.errors import OutOfMemoryError, RuntimeNotAvailableError
from gps_denied_inference.core.runtime.pytorch_fp16 import PytorchFp16Runtime

torch = pytest.importorskip("torch", reason="torch is not installed")
if not torch.cuda.is_available():
    pytest.skip("needs a CUDA GPU", allow_module_level=True)
pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
from test.core.runtime.reference_networks import (  # noqa: E402 - needs torch
    seeded_reference,
    spec_for,
    write_reference_checkpoint,
)
from test.golden.agreement import compare_descriptor, compare_keypoints  # noqa: E402 - needs cv2
from test.golden.inputs import golden_inputs  # noqa: E402 - needs cv2
from test.gpu.published import MIB, OURS, full_registry, load_published  # noqa: E402 - needs torch

pytestmark = pytest.mark.gpu


@pytest.fixture
def runtime() -> Iterator[PytorchFp16Runtime]:
    with PytorchFp16Runtime(architecture_registry=full_registry()) as created:
        yield created


def load_reference(
    runtime: PytorchFp16Runtime,
    folder: Path,
    precision: PrecisionMode = PrecisionMode.FP16,
    name: str = "reference_cnn",
) -> EngineHandle:
    config = BuildConfig(precision=precision, extras={"model_name": name})
    return runtime.deserialize_engine(runtime.compile_engine(write_reference_checkpoint(folder), config))


def image(seed: int = 0, shape: tuple[int, ...] = (1, 3, 32, 32)) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def test_fp16_runs_as_asked(runtime: PytorchFp16Runtime, tmp_path: Path) -> None:
    configuration = load_reference(runtime, tmp_path).configuration
    assert configuration.effective_precision is PrecisionMode.FP16
    assert configuration.effective_device == "cuda:0"
    assert configuration.fallback_reason == ""


def test_weights_and_inputs_are_half(tmp_path: Path) -> None:
    seen: set[Any] = set()

    class Spy(type(seeded_reference())):  # type: ignore[misc]  # the class of the reference network
        def forward(self, image: Any) -> Any:
            seen.update({image.dtype, *(parameter.dtype for parameter in self.parameters())})
            return super().forward(image)

    registry = ArchitectureRegistry()
    registry.register("reference_cnn", Spy, spec=spec_for((1, 3, 32, 32), ("descriptor",), 8))
    load_reference(PytorchFp16Runtime(architecture_registry=registry), tmp_path)
    assert seen == {torch.float16}


def test_device_that_is_not_there_is_refused_or_falls_back_with_its_reason(tmp_path: Path) -> None:
    device = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(RuntimeNotAvailableError, match=device):
        load_reference(PytorchFp16Runtime(device=device, architecture_registry=full_registry()), tmp_path)
    allowed = PytorchFp16Runtime(device=device, architecture_registry=full_registry(), allow_cpu_fallback=True)
    configuration = load_reference(allowed, tmp_path).configuration
    assert (configuration.effective_device, configuration.effective_precision) == ("cpu", PrecisionMode.FP32)
    assert device in configuration.fallback_reason


def test_reference_network_in_fp16_is_within_five_thousandths_of_fp32(
    runtime: PytorchFp16Runtime, tmp_path: Path
) -> None:
    handle = load_reference(runtime, tmp_path)
    for seed in range(20):
        with torch.no_grad():
            expected = seeded_reference()(torch.tensor(image(seed))).numpy()
        actual = runtime.infer(handle, {"image": image(seed)})["descriptor"]
        np.testing.assert_allclose(actual, expected, atol=5e-3, rtol=5e-3)


def test_fp32_is_within_one_hundred_thousandth_of_plain_torch(runtime: PytorchFp16Runtime, tmp_path: Path) -> None:
    handle = load_reference(runtime, tmp_path, PrecisionMode.FP32)
    with torch.no_grad():
        expected = seeded_reference()(torch.tensor(image())).numpy()
    np.testing.assert_allclose(runtime.infer(handle, {"image": image()})["descriptor"], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("key", ["crop", "noise"])
def test_efficientnet_in_fp16_keeps_its_descriptor(runtime: PytorchFp16Runtime, key: str) -> None:
    architecture, handle = load_published(runtime, "efficientnet_lite0_grid")
    descriptor = runtime.infer(handle, {"image": golden_inputs(architecture.spec)[key]})["descriptor"][0]
    assert compare_descriptor(descriptor, key).cosine >= 0.999


@pytest.mark.parametrize("key", ["crop", "noise"])
def test_xfeat_in_fp16_keeps_keypoints_and_descriptors(runtime: PytorchFp16Runtime, key: str) -> None:
    architecture, handle = load_published(runtime, "xfeat")
    agreement = compare_keypoints(runtime.infer(handle, {"image": golden_inputs(architecture.spec)[key]}), key)
    assert agreement.mean_cosine >= 0.999
    assert agreement.repeated >= 0.9


@pytest.mark.parametrize("name", OURS)
def test_same_input_gives_the_same_bits(runtime: PytorchFp16Runtime, name: str) -> None:
    architecture, handle = load_published(runtime, name)
    inputs = golden_inputs(architecture.spec)
    first = runtime.infer(handle, {"image": inputs["crop"]})
    runtime.infer(handle, {"image": inputs["noise"]})
    _, reloaded = load_published(runtime, name)
    for used in (handle, reloaded):
        again = runtime.infer(used, {"image": inputs["crop"]})
        for output, values in first.items():
            np.testing.assert_array_equal(values, again[output])


@pytest.mark.parametrize("name", OURS)
def test_release_gives_the_memory_back(runtime: PytorchFp16Runtime, name: str) -> None:
    runtime.release_engine(load_published(runtime, name)[1])  # CUDA's and cuDNN's own contexts stay
    before = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    handles = [load_published(runtime, name)[1] for _ in range(3)]
    assert torch.cuda.memory_allocated() > before[0] + MIB
    for handle in handles:
        runtime.release_engine(handle)
    assert torch.cuda.memory_allocated() <= before[0]
    assert torch.cuda.memory_reserved() <= before[1]


class _Greedy(torch.nn.Module):  # type: ignore[name-defined]  # importorskip hides the module
    """Asks for a tebibyte when it is shown a bright image, or at once when `greedy_at_warm_up`."""

    greedy_at_warm_up = False

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(1, 1)

    def forward(self, image: Any) -> Any:
        activation = image.new_zeros(64 * MIB)
        if self.greedy_at_warm_up or float(image.max()) > 1:
            return activation, image.new_empty(1 << 40)
        return image.mean((2, 3))


class _GreedyAtWarmUp(_Greedy):
    greedy_at_warm_up = True


@pytest.fixture
def greedy(tmp_path: Path) -> tuple[PytorchFp16Runtime, Path]:
    registry = full_registry()
    spec = spec_for((1, 3, 32, 32), ("descriptor",), 3)
    registry.register("greedy", _Greedy, spec=spec)
    registry.register("greedy_at_warm_up", _GreedyAtWarmUp, spec=spec)
    path = tmp_path / "greedy.pt"
    torch.save(_Greedy().state_dict(), path)
    return PytorchFp16Runtime(architecture_registry=registry), path


def test_exhausted_memory_while_loading_leaves_the_runtime_usable(
    greedy: tuple[PytorchFp16Runtime, Path], tmp_path: Path
) -> None:
    runtime, path = greedy
    before = torch.cuda.memory_reserved()
    with pytest.raises(OutOfMemoryError) as caught:
        runtime.deserialize_engine(
            runtime.compile_engine(path, BuildConfig(extras={"model_name": "greedy_at_warm_up"}))
        )
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)
    assert torch.cuda.memory_reserved() <= before, "the failed load's tensors are given back"
    assert runtime.infer(load_reference(runtime, tmp_path), {"image": image()})


def test_exhausted_memory_while_inferring_leaves_the_engine_usable(greedy: tuple[PytorchFp16Runtime, Path]) -> None:
    runtime, path = greedy
    handle = runtime.deserialize_engine(runtime.compile_engine(path, BuildConfig()))
    dark = np.zeros((1, 3, 32, 32), np.float32)
    for _ in range(3):
        with pytest.raises(OutOfMemoryError) as caught:
            runtime.infer(handle, {"image": dark + 2})
        assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)
        assert runtime.infer(handle, {"image": dark})["descriptor"].shape == (1, 3)


@pytest.mark.parametrize("name", OURS)
def test_loading_takes_at_most_ten_seconds_at_the_95th_percentile(runtime: PytorchFp16Runtime, name: str) -> None:
    seconds = []
    for _ in range(20):
        start = time.monotonic()
        _, handle = load_published(runtime, name)
        seconds.append(time.monotonic() - start)
        runtime.release_engine(handle)
    assert np.percentile(seconds, 95) <= 10.0


@pytest.mark.parametrize("is_replayed", [True, False])
@pytest.mark.parametrize("name", OURS)
def test_infer_returns_after_the_device_has_finished(
    name: str, is_replayed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = []
    replay = torch.cuda.CUDAGraph.replay

    def noted(graph: Any) -> None:
        streams.append(torch.cuda.current_stream())  # a recorded network has a stream of its own
        replay(graph)

    with PytorchFp16Runtime(architecture_registry=full_registry(), use_cuda_graph=is_replayed) as runtime:
        architecture, handle = load_published(runtime, name)
        monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", noted)
        runtime.infer(handle, {"image": golden_inputs(architecture.spec)["crop"]})
        assert len(streams) == is_replayed
        assert all(stream.query() for stream in (*streams, torch.cuda.current_stream())), "work is left on a stream"
