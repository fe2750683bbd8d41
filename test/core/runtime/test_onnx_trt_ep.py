"""What is particular to the ONNX Runtime runtime; `test_contract.py` has what all runtimes share."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gps_denied_inference.core.architectures import ArchitectureRegistry
from gps_denied_inference.core.contracts import (
    BuildConfig,
    EngineCacheEntry,
    OptimizationProfile,
    PrecisionMode,
    TensorSpec,
)
from gps_denied_inference.core.errors import (
    EngineBuildError,
    EngineDeserializeError,
    InferenceError,
    OutOfMemoryError,
    RuntimeNotAvailableError,
    SettingsError,
)

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
onnx = pytest.importorskip("onnx", reason="onnx is not installed")
import torch  # noqa: E402 - optional

from gps_denied_inference.core.runtime.onnx_ep_context import tensorrt_build_options  # noqa: E402 - needs onnxruntime
from gps_denied_inference.core.runtime.onnx_errors import onnxruntime_errors  # noqa: E402 - needs onnxruntime
from gps_denied_inference.core.runtime.onnx_trt_ep import OnnxTrtEpRuntime  # noqa: E402 - needs onnxruntime
from test.core.runtime.reference_networks import (  # noqa: E402 - needs torch
    REFERENCE_CNN,
    ReferenceCnn,
    reference_registry,
    seeded_reference,
    spec_for,
    write_reference_onnx,
)

FP32 = PrecisionMode.FP32


def on_cpu(**keywords: Any) -> OnnxTrtEpRuntime:
    return OnnxTrtEpRuntime(**{"device": "cpu", "architecture_registry": reference_registry(), **keywords})


@pytest.fixture
def entry(tmp_path: Path) -> EngineCacheEntry:
    return on_cpu().compile_engine(write_reference_onnx(tmp_path, FP32), BuildConfig(FP32))


@pytest.fixture
def image() -> NDArray[np.float32]:
    return np.random.default_rng(3).standard_normal((1, 3, 32, 32), dtype=np.float32)


def changed(entry: EngineCacheEntry, content: bytes) -> EngineCacheEntry:
    entry.path.write_bytes(content)
    return replace(entry, sha256=hashlib.sha256(content).hexdigest())


def renamed(entry: EngineCacheEntry, old: str, new: str) -> EngineCacheEntry:
    model = onnx.load(entry.path)
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]
    for item in (*model.graph.input, *model.graph.output):
        item.name = new if item.name == old else item.name
    return changed(entry, model.SerializeToString())


def with_ep_context(path: Path) -> Path:
    """A model of one node that claims to hold a compiled engine."""
    node = onnx.helper.make_node("EPContext", ["image"], ["descriptor"], domain="com.microsoft", embed_mode=1)
    borders = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("image", (1, 3, 32, 32)), ("descriptor", (1, 8)))
    ]
    graph = onnx.helper.make_graph([node], "compiled", borders[:1], borders[1:])
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("com.microsoft", 1)]
    path.write_bytes(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())
    return path


def compiled_entry(folder: Path) -> EngineCacheEntry:
    path = with_ep_context(folder / f"{REFERENCE_CNN}.onnx")
    extras = {"model_name": REFERENCE_CNN, "provider": "tensorrt"}
    return EngineCacheEntry(path, hashlib.sha256(path.read_bytes()).hexdigest(), FP32, extras=extras)


def test_output_is_torchs(entry: EngineCacheEntry, image: NDArray[np.float32]) -> None:
    runtime = on_cpu()
    found = runtime.infer(runtime.deserialize_engine(entry), {"image": image})["descriptor"]
    with torch.no_grad():
        expected = seeded_reference()(torch.tensor(image)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_cpu_that_was_asked_for_is_no_fallback(entry: EngineCacheEntry) -> None:
    configuration = on_cpu().deserialize_engine(entry).configuration
    assert configuration.fallback_reason == ""
    assert configuration.effective_device == "cpu"
    assert configuration.effective_precision is FP32
    assert configuration.provider == f"CPUExecutionProvider of onnxruntime {ort.__version__}"


def test_missing_provider_is_refused_or_falls_back_with_its_reason(entry: EngineCacheEntry) -> None:
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this ONNX Runtime has the CUDA provider")
    with pytest.raises(RuntimeNotAvailableError, match=r"no CUDAExecutionProvider.*allow_cpu_fallback"):
        on_cpu(device="cuda:0", providers=("cuda", "cpu")).deserialize_engine(entry)
    with pytest.raises(RuntimeNotAvailableError, match="no CUDAExecutionProvider"):
        on_cpu(device="cuda:0", providers=("cuda",), allow_cpu_fallback=True).deserialize_engine(entry)
    allowed = on_cpu(device="cuda:0", providers=("cuda", "cpu"), allow_cpu_fallback=True)
    configuration = allowed.deserialize_engine(entry).configuration
    assert "no CUDAExecutionProvider" in configuration.fallback_reason
    assert (configuration.requested_device, configuration.effective_device) == ("cuda:0", "cpu")


def test_half_precision_on_the_cpu_is_refused_or_falls_back_with_its_reason(tmp_path: Path) -> None:
    entry = on_cpu().compile_engine(write_reference_onnx(tmp_path), BuildConfig(PrecisionMode.FP16))
    with pytest.raises(RuntimeNotAvailableError, match="computes in FP32"):
        on_cpu().deserialize_engine(entry)
    configuration = on_cpu(allow_cpu_fallback=True).deserialize_engine(entry).configuration
    assert "computes in FP32" in configuration.fallback_reason
    assert configuration.effective_precision is FP32


@pytest.mark.parametrize(
    ("device", "providers"),
    [("tpu", ("cpu",)), ("cuda:x", ("cuda",)), ("cpu", ("cuda",)), ("cpu", ()), ("cuda", ("cpu",)), ("cpu", ("npu",))],
)
def test_senseless_providers_and_devices_are_refused(
    entry: EngineCacheEntry, device: str, providers: tuple[str, ...]
) -> None:
    with pytest.raises(SettingsError):
        on_cpu(device=device, providers=providers, allow_cpu_fallback=True).deserialize_engine(entry)


def test_damaged_model_is_a_deserialize_error_with_its_cause(entry: EngineCacheEntry) -> None:
    content = entry.path.read_bytes()
    with pytest.raises(EngineDeserializeError) as caught:
        on_cpu().deserialize_engine(changed(entry, content[: len(content) // 2]))
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(("old", "new"), [("image", "picture"), ("descriptor", "embedding")])
def test_model_with_other_names_is_refused_by_name(entry: EngineCacheEntry, old: str, new: str) -> None:
    with pytest.raises(EngineDeserializeError, match=new):
        on_cpu().deserialize_engine(renamed(entry, old, new))


def test_model_with_another_input_shape_is_refused(entry: EngineCacheEntry) -> None:
    registry = ArchitectureRegistry()
    spec = replace(spec_for((1, 3, 32, 32), ("descriptor",), 8), inputs=(TensorSpec("image", (1, 3, 64, 32)),))
    registry.register(REFERENCE_CNN, ReferenceCnn, spec=spec)
    with pytest.raises(EngineDeserializeError, match=r"\(1, 3, 64, 32\)"):
        on_cpu(architecture_registry=registry).deserialize_engine(entry)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", "other"),
        ("weights_sha256", "0" * 64),
        ("preprocess_sha256", "0" * 64),
        ("precision", "fp16"),
    ],
)
def test_model_that_says_it_is_something_else_is_refused(entry: EngineCacheEntry, name: str, value: str) -> None:
    model = onnx.load(entry.path)
    stated = {item.key: item for item in model.metadata_props}
    extras = {**entry.extras, "weights_sha256": stated["weights_sha256"].value}
    stated[name].value = value
    with pytest.raises(EngineDeserializeError, match=f"{name} '{value}'"):
        on_cpu().deserialize_engine(changed(replace(entry, extras=extras), model.SerializeToString()))


def test_precision_of_the_file_must_be_the_one_asked_for(tmp_path: Path) -> None:
    with pytest.raises(EngineBuildError, match="exported in fp32"):
        on_cpu().compile_engine(write_reference_onnx(tmp_path, FP32), BuildConfig(PrecisionMode.FP16))


@pytest.mark.parametrize("precision", [PrecisionMode.INT8, PrecisionMode.MIXED])
def test_other_precisions_are_refused(entry: EngineCacheEntry, precision: PrecisionMode) -> None:
    with pytest.raises(EngineBuildError, match=precision.value):
        on_cpu().compile_engine(entry.path, BuildConfig(precision))
    with pytest.raises(EngineDeserializeError, match=precision.value):
        on_cpu().deserialize_engine(replace(entry, precision=precision))


# TensorRT is compiled for before the flight, or not at all.


def test_engine_without_compiled_part_is_not_compiled_when_loaded(entry: EngineCacheEntry) -> None:
    missed = replace(entry, extras={**entry.extras, "provider": "tensorrt"})
    with pytest.raises(EngineDeserializeError, match="--provider tensorrt"):
        on_cpu(device="cuda:0", allow_cpu_fallback=True).deserialize_engine(missed)


def test_compiled_engine_is_refused_where_tensorrt_is_not(tmp_path: Path) -> None:
    entry = compiled_entry(tmp_path)
    with pytest.raises(RuntimeNotAvailableError, match="cannot run on the CPU"):
        on_cpu(allow_cpu_fallback=True).deserialize_engine(entry)
    if "TensorrtExecutionProvider" not in ort.get_available_providers():
        with pytest.raises(RuntimeNotAvailableError, match="TensorrtExecutionProvider"):
            on_cpu(device="cuda:0", allow_cpu_fallback=True).deserialize_engine(entry)


def test_compiling_for_tensorrt_without_it_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    if "TensorrtExecutionProvider" in ort.get_available_providers():
        pytest.skip("this ONNX Runtime has the TensorRT provider")
    path = write_reference_onnx(tmp_path, FP32)
    with pytest.raises(RuntimeNotAvailableError, match="no TensorrtExecutionProvider"):
        on_cpu(device="cuda:0").compile_engine(path, BuildConfig(FP32, extras={"provider": "tensorrt"}))
    assert list(tmp_path.iterdir()) == [path]


def test_compiled_model_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(EngineBuildError, match="compiled already"):
        on_cpu().compile_engine(with_ep_context(tmp_path / "network.onnx"), BuildConfig(FP32))


def test_unknown_provider_is_a_build_error(entry: EngineCacheEntry) -> None:
    with pytest.raises(EngineBuildError, match="'openvino'"):
        on_cpu().compile_engine(entry.path, BuildConfig(FP32, extras={"provider": "openvino"}))


def test_tensorrt_gets_profiles_and_precision() -> None:
    profile = OptimizationProfile("image", (1, 3, 32, 32), (2, 3, 32, 32), (4, 3, 32, 32))
    options = tensorrt_build_options(BuildConfig(PrecisionMode.FP16, (profile,)), 1)
    assert options == {
        "device_id": "1",
        "trt_fp16_enable": "1",
        "trt_profile_min_shapes": "image:1x3x32x32",
        "trt_profile_opt_shapes": "image:2x3x32x32",
        "trt_profile_max_shapes": "image:4x3x32x32",
    }
    assert tensorrt_build_options(BuildConfig(FP32), 0) == {"device_id": "0", "trt_fp16_enable": "0"}


# Sessions.


def test_threads_and_spinning_are_as_set(entry: EngineCacheEntry) -> None:
    runtime = on_cpu(intra_op_threads=1, allow_spinning=True)
    network: Any = runtime._networks.get(runtime.deserialize_engine(entry))
    options = network._session.get_session_options()
    assert options.intra_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "1"
    other = on_cpu()
    network = other._networks.get(other.deserialize_engine(entry))
    options = network._session.get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_calls_with_one_array_bind_nothing_and_allocate_no_output(
    entry: EngineCacheEntry, image: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = on_cpu()
    handle = runtime.deserialize_engine(entry)
    network: Any = runtime._networks.get(handle)
    address = network._outputs["descriptor"].data_ptr()
    expected = [runtime.infer(handle, {"image": image * np.float32(scale)})["descriptor"] for scale in (1.0, 2.0, 3.0)]
    batch = np.empty_like(image)
    runtime.infer(handle, {"image": batch * 0})
    np.copyto(batch, image)
    runtime.infer(handle, {"image": batch})
    session, calls = network._session, []
    run_bound = session.run_with_iobinding

    def recorded(binding: Any) -> None:
        calls.append(binding)
        run_bound(binding)

    monkeypatch.setattr(session, "run_with_iobinding", recorded)
    monkeypatch.setattr(session, "run", lambda *_: pytest.fail("a run that allocates its outputs"))
    monkeypatch.setattr(network._binding, "bind_ortvalue_input", lambda *_: pytest.fail("the array is bound already"))
    for scale, output in zip((1.0, 2.0, 3.0), expected, strict=True):
        np.multiply(image, np.float32(scale), out=batch)
        np.testing.assert_array_equal(runtime.infer(handle, {"image": batch})["descriptor"], output)
    assert len(calls) == 3
    assert [item.data_ptr() for item in network._binding.get_outputs()] == [address]


def test_each_array_gives_its_own_output(entry: EngineCacheEntry, image: NDArray[np.float32]) -> None:
    runtime = on_cpu()
    handle = runtime.deserialize_engine(entry)
    arrays = [image, image * np.float32(2.0), image]
    first, second, again = (runtime.infer(handle, {"image": values})["descriptor"] for values in arrays)
    np.testing.assert_array_equal(again, first)
    assert np.abs(second - first).max() > 1e-3


def test_input_of_any_memory_layout_gives_the_same_output(entry: EngineCacheEntry, image: NDArray[np.float32]) -> None:
    runtime = on_cpu()
    handle = runtime.deserialize_engine(entry)
    expected = runtime.infer(handle, {"image": image})["descriptor"]
    found = runtime.infer(handle, {"image": np.asfortranarray(image)})["descriptor"]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("Failed to allocate memory for requested buffer of size 9"), OutOfMemoryError),
        (RuntimeError("CUDA failure 2: out of memory"), OutOfMemoryError),
        (MemoryError(), OutOfMemoryError),
        (RuntimeError("Non-zero status code"), InferenceError),
    ],
)
def test_backend_errors_become_ours(error: Exception, expected: type[Exception]) -> None:
    with pytest.raises(expected, match="running it") as caught, onnxruntime_errors("running it"):
        raise error
    assert caught.value.__cause__ is error


def test_too_large_a_network_is_out_of_memory_and_the_runtime_goes_on(
    tmp_path: Path, entry: EngineCacheEntry, image: NDArray[np.float32]
) -> None:
    size = 1 << 46  # more bytes than any computer has, and than a process can address
    node = onnx.helper.make_node("Expand", ["image", "shape"], ["descriptor"])
    shape = onnx.numpy_helper.from_array(np.array([size // 3072, 3, 32, 32]), "shape")
    borders = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (rows, 3, 32, 32))
        for name, rows in (("image", 1), ("descriptor", size // 3072))
    ]
    graph = onnx.helper.make_graph([node], "large", borders[:1], borders[1:], [shape])
    content = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10
    ).SerializeToString()
    runtime = on_cpu()
    handle = runtime.deserialize_engine(entry)
    path = tmp_path / "large.onnx"
    path.write_bytes(content)
    with pytest.raises(OutOfMemoryError):
        runtime.deserialize_engine(replace(entry, path=path, sha256=hashlib.sha256(content).hexdigest()))
    assert runtime.infer(handle, {"image": image})
