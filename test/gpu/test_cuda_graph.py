"""Networks replayed from a CUDA graph: the same bits as call by call, and what cannot be recorded."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gps_denied_inference.core.architectures import ArchitectureRegistry
from gps_denied_inference.core.contracts import BuildConfig, PrecisionMode
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
from test.gpu.published import MIB, OURS, full_registry, load_published  # noqa: E402 - needs torch

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("precision", [PrecisionMode.FP16, PrecisionMode.FP32])
@pytest.mark.parametrize("name", OURS)
def test_replay_gives_the_bits_of_the_plain_call(name: str, precision: PrecisionMode) -> None:
    generator = np.random.default_rng(3)
    with (
        PytorchFp16Runtime(architecture_registry=full_registry()) as replaying,
        PytorchFp16Runtime(architecture_registry=full_registry(), use_cuda_graph=False) as plain,
    ):
        spec, first = load_published(replaying, name, precision)
        _, second = load_published(plain, name, precision)
        for _ in range(5):
            item = spec.spec.inputs[0]
            inputs = {item.name: generator.standard_normal(item.shape, dtype=np.float32)}
            replayed, expected = replaying.infer(first, inputs), plain.infer(second, inputs)
            for output, values in expected.items():
                np.testing.assert_array_equal(replayed[output], values)


def test_outputs_are_the_callers(tmp_path: Path) -> None:
    with PytorchFp16Runtime(architecture_registry=full_registry()) as runtime:
        config = BuildConfig(precision=PrecisionMode.FP16, extras={"model_name": "reference_cnn"})
        handle = runtime.deserialize_engine(runtime.compile_engine(write_reference_checkpoint(tmp_path), config))
        images = np.random.default_rng(0).standard_normal((2, 1, 3, 32, 32), dtype=np.float32)
        first = runtime.infer(handle, {"image": images[0]})["descriptor"]
        kept = first.copy()
        runtime.infer(handle, {"image": images[1]})
        np.testing.assert_array_equal(first, kept)


def test_network_that_waits_for_the_device_runs_call_by_call(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Waiting(type(seeded_reference())):  # type: ignore[misc]  # the class of the reference network
        def forward(self, image: Any) -> Any:
            if float(image.sum()) > 1e9:
                return super().forward(image * 0)
            return super().forward(image)

    caplog.set_level(logging.INFO)
    registry = ArchitectureRegistry()
    registry.register("reference_cnn", Waiting, spec=spec_for((1, 3, 32, 32), ("descriptor",), 8))
    with (
        PytorchFp16Runtime(architecture_registry=registry) as runtime,
        PytorchFp16Runtime(architecture_registry=full_registry(), use_cuda_graph=False) as plain,
    ):
        config = BuildConfig(precision=PrecisionMode.FP16, extras={"model_name": "reference_cnn"})
        path = write_reference_checkpoint(tmp_path)
        handle = runtime.deserialize_engine(runtime.compile_engine(path, config))
        assert "not recorded as a CUDA graph" in caplog.text
        other = plain.deserialize_engine(plain.compile_engine(path, config))
        image = {"image": np.random.default_rng(0).standard_normal((1, 3, 32, 32), dtype=np.float32)}
        np.testing.assert_array_equal(
            runtime.infer(handle, image)["descriptor"], plain.infer(other, image)["descriptor"]
        )


def test_engine_works_on_while_another_is_recorded() -> None:
    """As `~/load_engine` does in flight."""
    with PytorchFp16Runtime(architecture_registry=full_registry()) as runtime:
        entry, handle = load_published(runtime, OURS[0])
        item = entry.spec.inputs[0]
        inputs = {item.name: np.random.default_rng(0).standard_normal(item.shape, dtype=np.float32)}
        expected = runtime.infer(handle, inputs)
        has_ended = threading.Event()
        failures: list[str] = []

        def fly() -> None:
            while not has_ended.is_set():
                try:
                    for name, values in runtime.infer(handle, inputs).items():
                        np.testing.assert_array_equal(values, expected[name])
                except Exception as error:
                    failures.append(f"{type(error).__name__}: {error}")
                    return

        thread = threading.Thread(target=fly)
        thread.start()
        try:
            for _ in range(5):
                with PytorchFp16Runtime(architecture_registry=full_registry()) as second:
                    load_published(second, OURS[0])
        finally:
            has_ended.set()
            thread.join()
        assert failures == []


@pytest.mark.parametrize("name", OURS)
def test_graphs_give_their_memory_back(name: str) -> None:
    def used() -> float:
        torch.cuda.synchronize()
        free, total = torch.cuda.mem_get_info()
        return float(total - free) / MIB

    readings = []
    for _ in range(6):
        with PytorchFp16Runtime(architecture_registry=full_registry()) as runtime:
            load_published(runtime, OURS[0])
        readings.append(used())
    assert readings[-1] - readings[1] < 8.0, readings
