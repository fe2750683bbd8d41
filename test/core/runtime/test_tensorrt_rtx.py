"""The real TensorRT for RTX, on a computer without a GPU: it compiles ahead of time, and refuses to load."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from gps_denied_inference.core.contracts import BuildConfig, EngineCacheEntry, OptimizationProfile, PrecisionMode
from gps_denied_inference.core.errors import EngineBuildError, EngineDeserializeError, EngineHashMismatchError
from gps_denied_inference.core.runtime import InferenceRuntime
from gps_denied_inference.core.runtime.tensorrt_logger import TensorrtReportedError
from gps_denied_inference.core.runtime.tensorrt_runtime import TensorrtRuntime
from test.core.runtime.reference_networks import write_reference_onnx

trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")

FP16 = PrecisionMode.FP16


def config(folder: Path, precision: PrecisionMode = FP16, sms: str = "86", **extras: str) -> BuildConfig:
    return BuildConfig(precision, extras=MappingProxyType({"output_dir": str(folder), "sms": sms, **extras}))


def has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())


@pytest.fixture
def runtime() -> TensorrtRuntime:
    return TensorrtRuntime(flavour="tensorrt_rtx")


@pytest.fixture(scope="module")
def engine(grid_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> EngineCacheEntry:
    return TensorrtRuntime(flavour="tensorrt_rtx").compile_engine(grid_onnx, config(tmp_path_factory.mktemp("built")))


def test_it_keeps_the_runtimes_contract(runtime: TensorrtRuntime) -> None:
    assert isinstance(runtime, InferenceRuntime)
    assert runtime.current_runtime_label() == "tensorrt"
    assert not runtime.thermal_state().is_telemetry_available


def test_a_real_network_is_compiled_without_a_gpu(engine: EngineCacheEntry, grid_onnx: Path) -> None:
    content = engine.path.read_bytes()
    assert engine.path.name == "efficientnet_lite0_grid.engine"
    assert [path.name for path in engine.path.parent.iterdir()] == [engine.path.name]
    assert engine.sha256 == hashlib.sha256(content).hexdigest()
    assert engine.sm == "86" and engine.tensorrt == f"rtx{trt.__version__}" and engine.precision is FP16
    assert engine.extras["source_onnx_sha256"] == hashlib.sha256(grid_onnx.read_bytes()).hexdigest()
    assert engine.extras["model_name"] == "efficientnet_lite0_grid" and engine.extras["runtime"] == "tensorrt"
    # Half-precision weights: about 2 bytes for each of the 0.77 million parameters up to stage 10.
    assert 1_000_000 < len(content) < 4_000_000


def test_equal_models_give_equal_engines(runtime: TensorrtRuntime, grid_onnx: Path, tmp_path: Path) -> None:
    first, second = (runtime.compile_engine(grid_onnx, config(tmp_path / name)) for name in "ab")
    assert first.sha256 == second.sha256


def test_an_engine_for_two_gpus_differs(runtime: TensorrtRuntime, grid_onnx: Path, tmp_path: Path) -> None:
    one = runtime.compile_engine(grid_onnx, config(tmp_path / "one"))
    both = runtime.compile_engine(grid_onnx, config(tmp_path / "both", sms="89, 86"))
    assert both.sm == "86,89" and both.sha256 != one.sha256


def test_progress_goes_forward_to_the_end(runtime: TensorrtRuntime, grid_onnx: Path, tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    runtime.compile_engine(grid_onnx, config(tmp_path), on_progress=lambda *item: told.append(item))
    fractions = [fraction for _, fraction in told]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert len(set(fractions)) > 10 and len({phase for phase, _ in told}) > 3


def test_a_cancelled_build_leaves_nothing(runtime: TensorrtRuntime, grid_onnx: Path, tmp_path: Path) -> None:
    asked = 0

    def is_cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > 20

    with pytest.raises(EngineBuildError, match="cancelled"):
        runtime.compile_engine(grid_onnx, config(tmp_path / "built"), is_cancelled=is_cancelled)
    assert not (tmp_path / "built").exists() and asked == 21


@pytest.mark.parametrize("error", [ValueError("no display"), KeyboardInterrupt()])
def test_what_the_listener_raises_ends_the_build(
    runtime: TensorrtRuntime, grid_onnx: Path, tmp_path: Path, error: BaseException
) -> None:
    def fail(_phase: str, _fraction: float) -> None:
        raise error

    expected = EngineBuildError if isinstance(error, Exception) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        runtime.compile_engine(grid_onnx, config(tmp_path / "built"), on_progress=fail)
    assert error in (caught.value, caught.value.__cause__)
    assert not (tmp_path / "built").exists()


def test_a_failed_build_keeps_the_older_engine(runtime: TensorrtRuntime, grid_onnx: Path, tmp_path: Path) -> None:
    entry = runtime.compile_engine(grid_onnx, config(tmp_path))
    with pytest.raises(EngineBuildError):
        runtime.compile_engine(grid_onnx, config(tmp_path), is_cancelled=lambda: True)
    assert hashlib.sha256(entry.path.read_bytes()).hexdigest() == entry.sha256


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\xfd", "Failed to parse the ONNX model"),
        # Protocol buffers end at such bytes: an empty model.
        (b"this is no model", "no network in"),
        (b"", "no network in"),
    ],
)
def test_a_file_that_is_no_onnx_is_refused_with_the_parsers_reason(
    runtime: TensorrtRuntime, tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(EngineBuildError, match=message) as caught:
        runtime.compile_engine(path, config(tmp_path / "built"))
    assert isinstance(caught.value.__cause__, TensorrtReportedError)
    assert not (tmp_path / "built").exists()


def test_an_operator_that_nobody_knows_is_named(runtime: TensorrtRuntime, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    tensor = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (1, 3)) for name in ("image", "descriptor")
    ]
    node = onnx.helper.make_node("Frobnicate", ["image"], ["descriptor"], name="odd")
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "odd", tensor[:1], tensor[1:]))
    path = tmp_path / "odd.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(EngineBuildError, match="Frobnicate"):
        runtime.compile_engine(path, config(tmp_path, PrecisionMode.FP32))


def test_a_missing_file_is_refused(runtime: TensorrtRuntime, tmp_path: Path) -> None:
    with pytest.raises(EngineBuildError, match=r"absent\.onnx"):
        runtime.compile_engine(tmp_path / "absent.onnx", config(tmp_path))


@pytest.mark.parametrize("precision", [PrecisionMode.FP32, PrecisionMode.INT8])
def test_another_precision_than_the_files_is_refused(
    runtime: TensorrtRuntime, grid_onnx: Path, tmp_path: Path, precision: PrecisionMode
) -> None:
    with pytest.raises(EngineBuildError, match="exported in fp16"):
        runtime.compile_engine(grid_onnx, config(tmp_path, precision))


def test_int8_is_said_by_the_models_own_nodes(runtime: TensorrtRuntime, tmp_path: Path) -> None:
    path = tmp_path / "quantized.onnx"
    path.write_bytes(_quantized())
    entry = runtime.compile_engine(path, config(tmp_path, PrecisionMode.INT8))
    assert entry.precision is PrecisionMode.INT8 and entry.path.stat().st_size > 0
    runtime.compile_engine(path, config(tmp_path, PrecisionMode.MIXED))
    with pytest.raises(EngineBuildError, match="exported in int8"):
        runtime.compile_engine(path, config(tmp_path, PrecisionMode.FP32))


def test_all_float32_is_not_mixed(runtime: TensorrtRuntime, tmp_path: Path) -> None:
    path = write_reference_onnx(tmp_path, PrecisionMode.FP32)
    with pytest.raises(EngineBuildError, match="not mixed"):
        runtime.compile_engine(path, config(tmp_path, PrecisionMode.MIXED))


@pytest.mark.parametrize(("sms", "message"), [("87", "does not compile for SM 87"), ("8.6", "without the point")])
def test_a_gpu_that_it_does_not_know_is_refused(
    runtime: TensorrtRuntime, grid_onnx: Path, tmp_path: Path, sms: str, message: str
) -> None:
    with pytest.raises(EngineBuildError, match=message):
        runtime.compile_engine(grid_onnx, config(tmp_path, sms=sms))


@pytest.mark.skipif(has_gpu(), reason="a GPU is here, which it is then built for")
def test_without_a_gpu_one_must_be_named(runtime: TensorrtRuntime, grid_onnx: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineBuildError, match="name one of 75"):
        runtime.compile_engine(grid_onnx, config(tmp_path, sms=""))


def test_calibration_needs_a_weakly_typed_network(runtime: TensorrtRuntime, grid_onnx: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineBuildError, match="Q/DQ"):
        runtime.compile_engine(grid_onnx, config(tmp_path, PrecisionMode.INT8, calibration_images="images.npy"))


def test_a_workspace_limit_is_taken(runtime: TensorrtRuntime, grid_onnx: Path, tmp_path: Path) -> None:
    assert runtime.compile_engine(grid_onnx, config(tmp_path, workspace_mib="256")).path.is_file()
    with pytest.raises(EngineBuildError, match="mebibytes"):
        runtime.compile_engine(grid_onnx, config(tmp_path, workspace_mib="a lot"))


def test_it_keeps_no_timing_cache(runtime: TensorrtRuntime, grid_onnx: Path, tmp_path: Path) -> None:
    runtime.compile_engine(grid_onnx, config(tmp_path / "built", timing_cache=str(tmp_path / "timing")))
    assert not (tmp_path / "timing").exists()


def test_open_sizes_want_a_profile_that_fits(runtime: TensorrtRuntime, tmp_path: Path) -> None:
    path = tmp_path / "open.onnx"
    path.write_bytes(_open_sizes())
    base = config(tmp_path, PrecisionMode.FP32)

    def build(*profiles: OptimizationProfile) -> EngineCacheEntry:
        return runtime.compile_engine(path, replace(base, profiles=profiles))

    good = OptimizationProfile("image", (1, 3, 8, 8), (1, 3, 32, 32), (1, 3, 64, 64))
    assert build(good).path.is_file()
    for profiles, message in (
        ((), r"leaves sizes of \['image'\] open"),
        ((good, good), "more than one profile"),
        ((replace(good, input_name="picture"),), "picture"),
        ((good, replace(good, input_name="picture")), "picture"),
        ((replace(good, min_shape=(1, 1, 8, 8)),), "does not fit its shape"),
        ((replace(good, max_shape=(1, 3, 16, 16)),), "does not fit its shape"),
        ((replace(good, opt_shape=(3, 32, 32)),), "does not fit its shape"),
        ((replace(good, min_shape=(1, 3, 0, 8)),), "does not fit its shape"),
    ):
        with pytest.raises(EngineBuildError, match=message):
            build(*profiles)


@pytest.mark.skipif(has_gpu(), reason="a GPU is here")
def test_without_a_gpu_loading_is_refused_in_tensorrts_own_words(
    runtime: TensorrtRuntime, engine: EngineCacheEntry
) -> None:
    with pytest.raises(EngineDeserializeError, match="TensorRT for RTX") as caught:
        runtime.deserialize_engine(engine)
    cause = caught.value.__cause__
    assert isinstance(cause, TensorrtReportedError) and cause.sentences
    assert "deserializeCudaEngine" in str(cause) and "CUDA driver" in str(cause)


@pytest.mark.parametrize(
    ("content", "message"), [(b"no engine at all" * 100, "magicTag"), (b"no engine", "readHeader"), (b"", "TensorRT")]
)
def test_foreign_bytes_are_refused_in_tensorrts_own_words(
    runtime: TensorrtRuntime, engine: EngineCacheEntry, content: bytes, message: str
) -> None:
    path = engine.path.with_name("foreign.engine")
    path.write_bytes(content)
    foreign = replace(engine, path=path, sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(EngineDeserializeError, match=message) as caught:
        runtime.deserialize_engine(foreign)
    assert isinstance(caught.value.__cause__, TensorrtReportedError)


def test_changed_bytes_never_reach_tensorrt(
    runtime: TensorrtRuntime, engine: EngineCacheEntry, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(EngineHashMismatchError):
        runtime.deserialize_engine(replace(engine, sha256="0" * 64))
    assert not [record for record in caplog.records if record.name.endswith("tensorrt")]


@pytest.mark.parametrize("calls", [1, 40, 100])
def test_ctrl_c_wherever_it_comes_ends_the_build(
    runtime: TensorrtRuntime, grid_onnx: Path, tmp_path: Path, calls: int
) -> None:
    """Python raises it in whatever line it happens to run, which is ours or TensorRT's caller."""
    told = 0
    sent = threading.Event()

    def send() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        sent.set()

    def press(_phase: str, _fraction: float) -> None:
        nonlocal told
        told += 1
        if told == calls:
            # The signal comes from another thread, a little later: not in this call.
            threading.Timer(0.001, send).start()
        elif told > calls:
            sent.wait(10.0)  # a busy machine may send it late

    def build() -> None:
        runtime.compile_engine(grid_onnx, config(tmp_path / "built"), on_progress=press)
        sent.wait(10.0)  # were it to come only now, it must not go past pytest.raises and end the whole run of tests

    with pytest.raises(KeyboardInterrupt):
        build()
    assert not (tmp_path / "built").exists()


def _quantized() -> bytes:
    """image → Q → DQ → Conv of quantized weights."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    import numpy as np

    helper, types = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("QuantizeLinear", ["image", "scale", "zero"], ["image_q"]),
        helper.make_node("DequantizeLinear", ["image_q", "scale", "zero"], ["image_dq"]),
        helper.make_node("DequantizeLinear", ["weight_q", "scale", "zero"], ["weight"]),
        helper.make_node("Conv", ["image_dq", "weight"], ["descriptor"]),
    ]
    initializers = [
        onnx.numpy_helper.from_array(np.array(0.05, np.float32), "scale"),
        onnx.numpy_helper.from_array(np.array(0, np.int8), "zero"),
        onnx.numpy_helper.from_array(np.arange(-54, 54, dtype=np.int8).reshape(4, 3, 3, 3), "weight_q"),
    ]
    graph = helper.make_graph(
        nodes,
        "quantized",
        [helper.make_tensor_value_info("image", types.FLOAT, (1, 3, 32, 32))],
        [helper.make_tensor_value_info("descriptor", types.FLOAT, (1, 4, 30, 30))],
        initializers,
    )
    content: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    ).SerializeToString()
    return content


def _open_sizes() -> bytes:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    shape = (1, 3, "height", "width")
    tensors = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("image", "descriptor")
    ]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["image"], ["descriptor"])], "open", tensors[:1], tensors[1:]
    )
    content: bytes = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10
    ).SerializeToString()
    return content
