"""What is particular to the PyTorch runtime; its CUDA side is tested in test/gpu."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gps_denied_inference.core.architectures import ArchitectureRegistry
from gps_denied_inference.core.contracts import BuildConfig, EngineCacheEntry, PrecisionMode
from gps_denied_inference.core.errors import (
    EngineBuildError,
    EngineDeserializeError,
    InferenceError,
    OutOfMemoryError,
    RuntimeNotAvailableError,
    SettingsError,
)
from gps_denied_inference.core.runtime import InferenceRuntime
from gps_denied_inference.core.runtime.pytorch_fp16 import PytorchFp16Runtime

torch = pytest.importorskip("torch", reason="torch is not installed")
from test.core.runtime.reference_networks import (  # noqa: E402 - needs torch
    OUTPUT_STYLES,
    ReferenceCnn,
    StyledOutputs,
    reference_registry,
    seeded_reference,
    spec_for,
    write_reference_checkpoint,
)


def make_runtime(**keywords: Any) -> PytorchFp16Runtime:
    keywords.setdefault("architecture_registry", reference_registry())
    keywords.setdefault("device", "cpu")
    return PytorchFp16Runtime(allow_cpu_fallback=True, **keywords)


def test_class_conforms_to_the_protocol_statically() -> None:
    runtime: InferenceRuntime = make_runtime()
    assert isinstance(runtime, InferenceRuntime)


def compile_fp32(runtime: PytorchFp16Runtime, path: Path, **extras: str) -> EngineCacheEntry:
    return runtime.compile_engine(path, BuildConfig(precision=PrecisionMode.FP32, extras=extras))


def test_fp32_agrees_with_plain_torch(tmp_path: Path) -> None:
    runtime = make_runtime()
    handle = runtime.deserialize_engine(compile_fp32(runtime, write_reference_checkpoint(tmp_path)))
    image = np.random.default_rng(0).standard_normal((1, 3, 32, 32), dtype=np.float32)
    with torch.no_grad():
        expected = seeded_reference()(torch.tensor(image)).numpy()
    np.testing.assert_allclose(runtime.infer(handle, {"image": image})["descriptor"], expected, atol=1e-5, rtol=1e-5)


def test_evaluation_mode_without_gradients(tmp_path: Path) -> None:
    seen: list[tuple[bool, bool, bool]] = []

    class Spy(ReferenceCnn):
        def forward(self, image: Any) -> Any:
            seen.append((self.training, torch.is_grad_enabled(), next(self.parameters()).requires_grad))
            return super().forward(image)

    registry = ArchitectureRegistry()
    registry.register("reference_cnn", Spy, spec=spec_for((1, 3, 32, 32), ("descriptor",), 8))
    runtime = make_runtime(architecture_registry=registry)
    handle = runtime.deserialize_engine(compile_fp32(runtime, write_reference_checkpoint(tmp_path)))
    assert len(seen) >= 2, "warm-up runs the network on the declared shapes before the handle is given out"
    runtime.infer(handle, {"image": np.zeros((1, 3, 32, 32), np.float32)})
    assert set(seen) == {(False, False, False)}


@pytest.mark.parametrize("style", OUTPUT_STYLES)
def test_outputs_are_named_whatever_the_network_returns(style: str, tmp_path: Path) -> None:
    path = tmp_path / f"styled_{style}.pt"
    torch.save(StyledOutputs(style).state_dict(), path)
    runtime = make_runtime()
    handle = runtime.deserialize_engine(compile_fp32(runtime, path))
    image = np.arange(48, dtype=np.float32).reshape(1, 3, 4, 4)
    outputs = runtime.infer(handle, {"image": image})
    np.testing.assert_array_equal(outputs["first"], image * 2)
    if style != "tensor":
        assert list(outputs) == ["first", "second"]
        np.testing.assert_array_equal(outputs["second"], image + 1)


@pytest.mark.parametrize(
    ("suffix", "nesting"),
    [(".pt", None), (".pth", None), (".pt", "state_dict"), (".pt", "model"), (".safetensors", None)],
)
def test_every_kind_of_checkpoint_loads(suffix: str, nesting: str | None, tmp_path: Path) -> None:
    state = seeded_reference().state_dict()
    path = tmp_path / f"reference_cnn{suffix}"
    if suffix == ".safetensors":
        safetensors = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
        safetensors.save_file(state, path)
    else:
        torch.save({nesting: state, "epoch": 3} if nesting else state, path)
    runtime = make_runtime()
    assert runtime.deserialize_engine(compile_fp32(runtime, path)).model_name == "reference_cnn"


def test_half_precision_checkpoint_loads_into_fp32(tmp_path: Path) -> None:
    path = tmp_path / "reference_cnn.pt"
    torch.save({key: value.half() for key, value in seeded_reference().state_dict().items()}, path)
    runtime = make_runtime()
    handle = runtime.deserialize_engine(compile_fp32(runtime, path))
    outputs = runtime.infer(handle, {"image": np.ones((1, 3, 32, 32), np.float32)})
    assert np.isfinite(outputs["descriptor"]).all()


def test_mismatched_state_dict_lists_every_kind_of_key(tmp_path: Path) -> None:
    state = OrderedDict(seeded_reference().state_dict())
    state["neck.weight"] = state.pop("head.weight")
    state["head.bias"] = torch.zeros(9)
    path = tmp_path / "reference_cnn.pt"
    torch.save(state, path)
    runtime = make_runtime()
    with pytest.raises(EngineDeserializeError) as caught:
        runtime.deserialize_engine(compile_fp32(runtime, path))
    message = str(caught.value)
    assert "Missing keys: head.weight" in message
    assert "Unexpected keys: neck.weight" in message
    assert "head.bias (9,) instead of (8,)" in message
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({}, "without parameters"),
        ([1, 2], "list"),
        ({"head.weight": "text"}, "head.weight"),
        ({"head.weight": torch.tensor([float("nan")])}, "NaN"),
    ],
    ids=["empty", "list", "no-tensor", "nan"],
)
def test_checkpoint_without_plain_finite_tensors_is_refused(content: Any, named: str, tmp_path: Path) -> None:
    path = tmp_path / "reference_cnn.pt"
    torch.save(content, path)
    with pytest.raises(EngineBuildError, match=named):
        make_runtime().compile_engine(path, BuildConfig())


@pytest.mark.parametrize("precision", [PrecisionMode.INT8, PrecisionMode.MIXED])
def test_precision_that_torch_does_not_run_is_refused(precision: PrecisionMode, tmp_path: Path) -> None:
    runtime = make_runtime()
    path = write_reference_checkpoint(tmp_path)
    with pytest.raises(EngineBuildError, match=precision.value):
        runtime.compile_engine(path, BuildConfig(precision=precision))
    entry = runtime.compile_engine(path, BuildConfig())
    with pytest.raises(EngineDeserializeError, match=precision.value):
        runtime.deserialize_engine(replace(entry, precision=precision))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this computer has CUDA")
def test_missing_cuda_is_refused_without_an_allowed_fallback(tmp_path: Path) -> None:
    runtime = PytorchFp16Runtime(device="cuda:0", architecture_registry=reference_registry())
    entry = runtime.compile_engine(write_reference_checkpoint(tmp_path), BuildConfig())
    with pytest.raises(RuntimeNotAvailableError, match="allow_cpu_fallback"):
        runtime.deserialize_engine(entry)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this computer has CUDA")
def test_allowed_fallback_reports_request_effect_and_reason(tmp_path: Path) -> None:
    runtime = make_runtime(device="cuda:0")
    entry = runtime.compile_engine(write_reference_checkpoint(tmp_path), BuildConfig())
    configuration = runtime.deserialize_engine(entry).configuration
    assert (configuration.requested_precision, configuration.effective_precision) == (
        PrecisionMode.FP16,
        PrecisionMode.FP32,
    )
    assert (configuration.requested_device, configuration.effective_device) == ("cuda:0", "cpu")
    assert "no CUDA device" in configuration.fallback_reason
    assert configuration.provider == f"torch {torch.__version__}"


def test_fp16_on_the_cpu_is_refused_without_an_allowed_fallback(tmp_path: Path) -> None:
    runtime = PytorchFp16Runtime(device="cpu", architecture_registry=reference_registry())
    entry = runtime.compile_engine(write_reference_checkpoint(tmp_path), BuildConfig())
    with pytest.raises(RuntimeNotAvailableError, match="FP32"):
        runtime.deserialize_engine(entry)


def test_fp32_on_the_cpu_is_no_fallback(tmp_path: Path) -> None:
    runtime = PytorchFp16Runtime(device="cpu", architecture_registry=reference_registry())
    entry = compile_fp32(runtime, write_reference_checkpoint(tmp_path))
    assert runtime.deserialize_engine(entry).configuration.fallback_reason == ""


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "mps", ""])
def test_malformed_device_is_refused(device: str, tmp_path: Path) -> None:
    runtime = make_runtime(device=device)
    entry = runtime.compile_engine(write_reference_checkpoint(tmp_path), BuildConfig())
    with pytest.raises(SettingsError, match="device"):
        runtime.deserialize_engine(entry)


def _registry_with(forward: Any) -> ArchitectureRegistry:
    class Network(ReferenceCnn):
        def forward(self, image: Any) -> Any:
            return forward(image)

    registry = reference_registry()
    registry.register("custom", Network, spec=spec_for((1, 3, 32, 32), ("descriptor",), 8))
    return registry


def test_exhausted_memory_while_loading_leaves_the_runtime_usable(tmp_path: Path) -> None:
    def forward(image: Any) -> Any:
        return torch.empty((1 << 60,), dtype=torch.float32)  # more than any address space

    runtime = make_runtime(architecture_registry=_registry_with(forward))
    path = write_reference_checkpoint(tmp_path)
    with pytest.raises(OutOfMemoryError) as caught:
        runtime.deserialize_engine(compile_fp32(runtime, path, model_name="custom"))
    assert isinstance(caught.value.__cause__, RuntimeError)
    handle = runtime.deserialize_engine(compile_fp32(runtime, path))
    assert runtime.infer(handle, {"image": np.zeros((1, 3, 32, 32), np.float32)})


def test_exhausted_memory_while_inferring_leaves_the_engine_usable(tmp_path: Path) -> None:
    def forward(image: Any) -> Any:
        if float(image.max()) > 1:
            return torch.empty((1 << 60,), dtype=torch.float32)
        return image.mean((2, 3))

    runtime = make_runtime(architecture_registry=_registry_with(forward))
    entry = compile_fp32(runtime, write_reference_checkpoint(tmp_path), model_name="custom")
    handle = runtime.deserialize_engine(entry)
    image = np.zeros((1, 3, 32, 32), np.float32)
    with pytest.raises(OutOfMemoryError):
        runtime.infer(handle, {"image": image + 2})
    assert runtime.infer(handle, {"image": image})["descriptor"].shape == (1, 3)


def test_failing_network_is_an_inference_error_with_its_cause(tmp_path: Path) -> None:
    def forward(image: Any) -> Any:
        if float(image.max()) > 1:
            raise KeyError("lost")
        return image.mean((2, 3))

    runtime = make_runtime(architecture_registry=_registry_with(forward))
    entry = compile_fp32(runtime, write_reference_checkpoint(tmp_path), model_name="custom")
    handle = runtime.deserialize_engine(entry)
    with pytest.raises(InferenceError, match="lost") as caught:
        runtime.infer(handle, {"image": np.full((1, 3, 32, 32), 2, np.float32)})
    assert isinstance(caught.value.__cause__, KeyError)


def test_failed_forward_does_not_keep_its_tensors_alive(tmp_path: Path) -> None:
    import weakref

    alive: list[Any] = []

    def forward(image: Any) -> Any:
        if float(image.max()) > 1:
            activation = image * 2
            alive.append(weakref.ref(activation))
            raise RuntimeError("CUDA out of memory (scripted)")
        return image.mean((2, 3))

    runtime = make_runtime(architecture_registry=_registry_with(forward))
    entry = compile_fp32(runtime, write_reference_checkpoint(tmp_path), model_name="custom")
    handle = runtime.deserialize_engine(entry)
    with pytest.raises(OutOfMemoryError) as caught:
        runtime.infer(handle, {"image": np.full((1, 3, 32, 32), 2, np.float32)})
    assert caught.value.__cause__ is not None
    assert alive[0]() is None


def test_network_that_returns_other_outputs_than_declared_cannot_be_loaded(tmp_path: Path) -> None:
    runtime = make_runtime(architecture_registry=_registry_with(lambda image: (image, image)))
    entry = compile_fp32(runtime, write_reference_checkpoint(tmp_path), model_name="custom")
    with pytest.raises(EngineDeserializeError, match="2 outputs"):
        runtime.deserialize_engine(entry)
