"""Loading and running engines, on a stand-in of TensorRT whose device is the host's memory."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tensorrt_bench import VARIANTS, TensorrtBench, tensorrt_variant
from tensorrt_stand_in import HostStream, describe_network

from gps_denied_inference.core.contracts import (
    BuildConfig,
    EngineCacheEntry,
    OptimizationProfile,
    PrecisionMode,
    RuntimeLabel,
)
from gps_denied_inference.core.errors import (
    EngineDeserializeError,
    GpsDeniedInferenceError,
    InferenceError,
    OutOfMemoryError,
    RuntimeNotAvailableError,
)
from gps_denied_inference.core.runtime.tensorrt_logger import TensorrtReportedError

torch = pytest.importorskip("torch", reason="torch is not installed")
from test.core.runtime.reference_networks import (  # noqa: E402 - needs torch
    REFERENCE_CNN,
    reference_registry,
    seeded_reference,
    write_reference_onnx,
)

FP16, FP32 = PrecisionMode.FP16, PrecisionMode.FP32
HALF_OUTPUT = {"name": "descriptor", "shape": (1, 8), "dtype": "float16", "scale": 2.0}


@pytest.fixture
def bench() -> TensorrtBench:
    return TensorrtBench(reference_registry())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tmp_path / f"{REFERENCE_CNN}.onnx"


@pytest.fixture
def entry(bench: TensorrtBench, model: Path) -> EngineCacheEntry:
    """Of a network that gives twice its first eight inputs."""
    return bench.compile(model, describe_network())


def images(count: int) -> list[NDArray[np.float32]]:
    generator = np.random.default_rng(3)
    return [generator.random((1, 3, 32, 32), dtype=np.float32) for _ in range(count)]


def doubled(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the described network gives: halves, told as float32."""
    result: NDArray[np.float32] = (image.reshape(-1)[:8] * 2.0).astype(np.float16).astype(np.float32)[None]
    return result


def altered(entry: EngineCacheEntry, **changes: Any) -> EngineCacheEntry:
    """The same engine, behaving otherwise."""
    document = {**json.loads(entry.path.read_bytes()), **changes}
    content = json.dumps(document).encode()
    entry.path.write_bytes(content)
    return replace(entry, sha256=hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("precision", "tolerance"), [(FP32, 1e-5), (FP16, 5e-3)], ids=["fp32", "fp16"])
def test_outputs_are_those_of_the_reference_network(
    variant: str, precision: PrecisionMode, tolerance: float, tmp_path: Path
) -> None:
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    bench = TensorrtBench(reference_registry(), tensorrt_variant(variant))
    sms = "86" if bench.module.__name__ == "tensorrt_rtx" else ""
    entry = bench.compile(write_reference_onnx(tmp_path, precision), precision=precision, sms=sms)
    runtime, handle, stream = bench.load(entry)
    network = seeded_reference()
    for image in images(4):
        outputs = runtime.infer(handle, {"image": image})
        with torch.no_grad():
            expected = network(torch.from_numpy(image)).numpy()
        assert list(outputs) == ["descriptor"] and outputs["descriptor"].dtype == np.float32
        np.testing.assert_allclose(outputs["descriptor"], expected, atol=tolerance)
    assert stream.replays == 1 + 4 and stream.is_idle


def test_an_engine_asks_for_the_flavour_that_built_it(model: Path) -> None:
    bench = TensorrtBench(reference_registry(), tensorrt_variant("tensorrt_rtx 1.7.1.116"))
    entry = bench.compile(model, describe_network(), sms="86")
    assert bench.asked == ["auto"] and entry.tensorrt == "rtx1.7.1.116" and entry.sm == "86"
    bench.load(entry)
    bench.load(entry, flavour="tensorrt")
    assert bench.asked == ["auto", "tensorrt_rtx", "tensorrt"]


def test_configuration_tells_what_runs_it(bench: TensorrtBench, entry: EngineCacheEntry) -> None:
    _, handle, stream = bench.load(entry, device="cuda:1")
    assert handle.configuration.provider == "TensorRT 10.3.0, host memory, CUDA graph"
    assert handle.configuration.effective_device == handle.configuration.requested_device == "cuda:1"
    assert handle.configuration.effective_precision is FP16 and not handle.configuration.fallback_reason
    assert stream.index == 1 and handle.runtime_label is RuntimeLabel.TENSORRT


# Buffers, stream and graph.


def test_nothing_is_allocated_after_loading(bench: TensorrtBench, entry: EngineCacheEntry) -> None:
    runtime, handle, stream = bench.load(entry)
    opened, allocated, bytes_ = len(bench.streams), stream.allocations, stream.allocated_bytes
    assert bytes_ == 3 * 32 * 32 * 4 + 8 * 2 and allocated == 2
    for image in images(20):
        runtime.infer(handle, {"image": image})
    assert (len(bench.streams), stream.allocations, stream.allocated_bytes) == (opened, allocated, bytes_)


def test_every_pass_is_one_launch_of_the_graph_and_one_wait(bench: TensorrtBench, entry: EngineCacheEntry) -> None:
    runtime, handle, stream = bench.load(entry)
    replays, waits = stream.replays, stream.waits
    assert replays == 1  # the warm-up has run the graph too
    for image in images(3):
        runtime.infer(handle, {"image": image})
    assert (stream.replays - replays, stream.waits - waits) == (3, 3)


@pytest.mark.parametrize("capture_refusal", ["", "operation not permitted when stream is capturing"])
def test_outputs_are_whole_when_infer_returns(
    bench: TensorrtBench, entry: EngineCacheEntry, capture_refusal: str
) -> None:
    bench.stream_options = {"capture_refusal": capture_refusal}
    runtime, handle, stream = bench.load(entry)
    for image in images(5):
        np.testing.assert_array_equal(runtime.infer(handle, {"image": image})["descriptor"], doubled(image))
        assert stream.is_idle


def test_the_stand_in_shows_a_wait_that_is_missing(
    bench: TensorrtBench, entry: EngineCacheEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, handle, _ = bench.load(entry)
    monkeypatch.setattr(HostStream, "synchronize", lambda _self: None)
    first = images(1)[0]
    assert not np.array_equal(runtime.infer(handle, {"image": first})["descriptor"], doubled(first))


def test_without_a_graph_it_runs_and_says_why(
    bench: TensorrtBench, entry: EngineCacheEntry, caplog: pytest.LogCaptureFixture
) -> None:
    bench.stream_options = {"capture_refusal": "operation not permitted when stream is capturing"}
    with caplog.at_level("WARNING", logger="gps_denied_inference.runtime"):
        runtime, handle, stream = bench.load(entry)
    assert "no CUDA graph: " in handle.configuration.provider
    assert "not permitted when stream is capturing" in handle.configuration.provider
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    image = images(1)[0]
    np.testing.assert_array_equal(runtime.infer(handle, {"image": image})["descriptor"], doubled(image))
    assert stream.replays == 0


def test_a_network_that_cannot_be_captured_is_not_captured(model: Path) -> None:
    bench = TensorrtBench(reference_registry(), tensorrt_variant("tensorrt_rtx 1.7.1.116"))
    entry = bench.compile(model, describe_network(is_capturable=False), sms="86")
    runtime, handle, stream = bench.load(entry)
    assert "TensorRT says that this network cannot be captured" in handle.configuration.provider
    runtime.infer(handle, {"image": images(1)[0]})
    assert stream.replays == 0


def test_each_engine_has_a_stream_of_its_own(bench: TensorrtBench, entry: EngineCacheEntry) -> None:
    runtime = bench.runtime()
    bench.streams.clear()
    first, second = runtime.deserialize_engine(entry), runtime.deserialize_engine(entry)
    assert len({stream.handle for stream in bench.streams}) == 2
    one, other = images(2)
    kept = runtime.infer(first, {"image": one})["descriptor"]
    np.testing.assert_array_equal(runtime.infer(second, {"image": other})["descriptor"], doubled(other))
    np.testing.assert_array_equal(kept, doubled(one))
    runtime.release_engine(first)
    assert [stream.is_closed for stream in bench.streams] == [True, False]
    np.testing.assert_array_equal(runtime.infer(second, {"image": one})["descriptor"], doubled(one))
    runtime.close()
    assert bench.streams[1].is_closed


def test_threads_do_not_mix_their_frames(bench: TensorrtBench, entry: EngineCacheEntry) -> None:
    runtime, handle, _ = bench.load(entry)
    wrong: list[int] = []

    def work(image: NDArray[np.float32]) -> None:
        expected = doubled(image)
        for number in range(50):
            if not np.array_equal(runtime.infer(handle, {"image": image})["descriptor"], expected):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(image,)) for image in images(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_pass_after_the_release_is_refused_not_run(bench: TensorrtBench, entry: EngineCacheEntry) -> None:
    runtime, handle, stream = bench.load(entry)
    network: Any = runtime._networks.get(handle)  # a thread that is already past the handle
    runtime.release_engine(handle)
    waits = stream.waits
    with pytest.raises(InferenceError, match="was released"):
        network.forward({"image": images(1)[0]})
    assert stream.waits == waits


def test_outputs_that_nobody_asked_for_have_a_buffer(bench: TensorrtBench, model: Path) -> None:
    more = {"name": "scores", "shape": (1, 4), "dtype": "float32"}
    runtime, handle, _ = bench.load(bench.compile(model, describe_network(outputs=(more, HALF_OUTPUT))))
    image = images(1)[0]
    outputs = runtime.infer(handle, {"image": image})
    assert list(outputs) == ["descriptor"]
    np.testing.assert_array_equal(outputs["descriptor"], doubled(image))


# Shapes and the profile.


def open_entry(bench: TensorrtBench, model: Path, largest: int) -> EngineCacheEntry:
    """Of a network of open height and width, built for sizes up to `largest`."""
    model.write_bytes(describe_network(input_shape=(1, 3, -1, -1)))
    profile = OptimizationProfile("image", (1, 3, 8, 8), (1, 3, 16, 16), (1, 3, largest, largest))
    return bench.runtime().compile_engine(model, BuildConfig(FP16, (profile,)))


def test_open_sizes_run_at_the_size_of_the_specification(bench: TensorrtBench, model: Path) -> None:
    runtime, handle, _ = bench.load(open_entry(bench, model, 64))
    image = images(1)[0]
    np.testing.assert_array_equal(runtime.infer(handle, {"image": image})["descriptor"], doubled(image))
    with pytest.raises(InferenceError, match=r"\(1, 3, 64, 64\)"):  # within the profile, but buffers are made once
        runtime.infer(handle, {"image": np.zeros((1, 3, 64, 64), np.float32)})


def test_a_size_outside_the_profile_is_refused_when_loading(bench: TensorrtBench, model: Path) -> None:
    with pytest.raises(
        EngineDeserializeError, match=r"takes \(1, 3, 8, 8\) to \(1, 3, 16, 16\).*takes \(1, 3, 32, 32\)"
    ):
        bench.load(open_entry(bench, model, 16))
    assert bench.streams[-1].is_closed


# What may be wrong with an engine. Nothing of a refused one stays on the device.

NOT_THE_REGISTERED_NETWORK: dict[str, tuple[dict[str, Any], str]] = {
    "input name": ({"inputs": [{"name": "picture", "shape": (1, 3, 32, 32), "dtype": "float32"}]}, "picture"),
    "input shape": (
        {"inputs": [{"name": "image", "shape": (1, 3, 64, 64), "dtype": "float32"}]},
        r"takes \(1, 3, 64, 64\)",
    ),
    "input rank": ({"inputs": [{"name": "image", "shape": (3, 32, 32), "dtype": "float32"}]}, r"takes \(3, 32, 32\)"),
    "input dtype": ({"inputs": [{"name": "image", "shape": (1, 3, 32, 32), "dtype": "float16"}]}, "is float16"),
    "more inputs": (
        {
            "inputs": [
                {"name": "image", "shape": (1, 3, 32, 32), "dtype": "float32"},
                {"name": "mask", "shape": (1,), "dtype": "float32"},
            ]
        },
        "mask",
    ),
    "output name": ({"outputs": [{**HALF_OUTPUT, "name": "embedding"}]}, r"embedding.*without \['descriptor'\]"),
    "output of whole numbers": ({"outputs": [{**HALF_OUTPUT, "dtype": "int64"}]}, "not floating-point"),
    "output in bfloat16": ({"outputs": [{**HALF_OUTPUT, "dtype": "bfloat16"}]}, "not floating-point"),
    "output of unknown size": ({"outputs": [{**HALF_OUTPUT, "shape": (1, -1)}]}, "sizes that depend on its values"),
    "unread output in bfloat16": (
        {"outputs": [HALF_OUTPUT, {**HALF_OUTPUT, "name": "more", "dtype": "bfloat16"}]},
        "element type that we don't read",
    ),
}


@pytest.mark.parametrize("what", NOT_THE_REGISTERED_NETWORK)
def test_an_engine_of_another_network_is_refused(bench: TensorrtBench, entry: EngineCacheEntry, what: str) -> None:
    changes, message = NOT_THE_REGISTERED_NETWORK[what]
    with pytest.raises(EngineDeserializeError, match=message):
        bench.load(altered(entry, **changes))
    assert bench.streams[-1].is_closed


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"load_refusal": "The engine plan file is not compatible with this version of TensorRT"},
            EngineDeserializeError,
            "not compatible with this version",
        ),
        ({"load_refusal": "[allocator] CUDA error: out of memory"}, OutOfMemoryError, "does not fit the GPU"),
        ({"context_refusal": "kernel image is invalid"}, EngineDeserializeError, "kernel image is invalid"),
        ({"context_refusal": "cudaErrorMemoryAllocation"}, OutOfMemoryError, "cannot be made ready"),
        ({"run_refusal": "misaligned address"}, EngineDeserializeError, "does not run.*misaligned address"),
        ({"run_refusal": "out of memory"}, OutOfMemoryError, "out of memory"),
    ],
)
def test_what_tensorrt_refuses_is_told_in_its_words(
    bench: TensorrtBench,
    entry: EngineCacheEntry,
    changes: dict[str, str],
    error: type[GpsDeniedInferenceError],
    message: str,
) -> None:
    with pytest.raises(error, match=message) as caught:
        bench.load(altered(entry, **changes))
    cause: BaseException | None = caught.value
    while cause is not None and not isinstance(cause, TensorrtReportedError):
        cause = cause.__cause__
    assert cause is not None and cause.first == next(iter(changes.values()))
    assert bench.streams[-1].is_closed


def test_buffers_that_do_not_fit_are_out_of_memory(bench: TensorrtBench, entry: EngineCacheEntry) -> None:
    bench.stream_options = {"limit_bytes": 3 * 32 * 32 * 4 + 8}
    with pytest.raises(OutOfMemoryError, match="allocating 16 bytes"):
        bench.load(entry)
    assert bench.streams[-1].is_closed


def test_a_pass_that_fails_is_told_and_the_next_one_runs(bench: TensorrtBench, entry: EngineCacheEntry) -> None:
    bench.stream_options = {"capture_refusal": "not here"}  # a graph is never asked again
    runtime, handle, _ = bench.load(entry)
    network: Any = runtime._networks.get(handle)
    network._engine.described["run_refusal"] = "an illegal memory access was encountered"
    image = images(1)[0]
    with pytest.raises(InferenceError, match="illegal memory access") as caught:
        runtime.infer(handle, {"image": image})
    assert isinstance(caught.value.__cause__, TensorrtReportedError)
    del network._engine.described["run_refusal"]
    np.testing.assert_array_equal(runtime.infer(handle, {"image": image})["descriptor"], doubled(image))


def test_a_failure_of_the_device_while_waiting_is_told(
    bench: TensorrtBench, entry: EngineCacheEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, handle, _ = bench.load(entry)

    def fail(_self: HostStream) -> None:
        raise InferenceError("CUDA failed while waiting for the GPU (cudaErrorLaunchFailure)")

    monkeypatch.setattr(HostStream, "synchronize", fail)
    with pytest.raises(InferenceError, match=r"running reference_cnn\.engine.*cudaErrorLaunchFailure"):
        runtime.infer(handle, {"image": images(1)[0]})


# The device.


def test_the_cpu_is_no_place_for_it(bench: TensorrtBench, entry: EngineCacheEntry) -> None:
    with pytest.raises(RuntimeNotAvailableError, match="onnx_trt_ep on the CPU"):
        bench.load(entry, device="cpu", allow_cpu_fallback=True)


def test_without_a_gpu_an_engine_that_loads_is_refused_all_the_same(
    bench: TensorrtBench, entry: EngineCacheEntry
) -> None:
    def no_gpu(_index: int) -> HostStream:
        raise RuntimeNotAvailableError("cuda-python finds 0 GPUs")

    runtime = bench.runtime(allow_cpu_fallback=True)
    runtime._open_stream = no_gpu
    with pytest.raises(RuntimeNotAvailableError, match=r"allow_cpu_fallback has no effect here.*finds 0 GPUs"):
        runtime.deserialize_engine(entry)
