"""What a build asks of each TensorRT version, on the stand-in: typing, calibration, timing cache, targets."""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from tensorrt_bench import VARIANTS, TensorrtBench, tensorrt_variant
from tensorrt_stand_in import describe_network

from gps_denied_inference.core.contracts import BuildConfig, EngineCacheEntry, PrecisionMode
from gps_denied_inference.core.errors import (
    CalibrationCacheError,
    EngineBuildError,
    OutOfMemoryError,
    RuntimeNotAvailableError,
)
from gps_denied_inference.core.runtime.tensorrt_binding import TensorrtBinding, flavour_of, load_binding
from gps_denied_inference.core.runtime.tensorrt_logger import TensorrtReportedError

pytest.importorskip("torch", reason="torch is not installed")
from test.core.runtime.reference_networks import REFERENCE_CNN, reference_registry

INT8, MIXED = PrecisionMode.INT8, PrecisionMode.MIXED
TENSORRT_10, TENSORRT_11, RTX = VARIANTS[0], VARIANTS[2], VARIANTS[3]


@pytest.fixture
def bench() -> TensorrtBench:
    return TensorrtBench(reference_registry(), tensorrt_variant(TENSORRT_10))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tmp_path / f"{REFERENCE_CNN}.onnx"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Five of them; the largest value is 4.5."""
    path = tmp_path / "images.npy"
    values = np.linspace(-1, 1, 5 * 3 * 32 * 32, dtype=np.float32).reshape(5, 3, 32, 32)
    values[3, 0, 0, 0] = 4.5
    np.save(path, values)
    return path


def built(entry: EngineCacheEntry) -> Any:
    return json.loads(entry.path.read_bytes())


@pytest.mark.parametrize("variant", VARIANTS)
def test_networks_are_strongly_typed_where_that_is_a_choice(variant: str, model: Path) -> None:
    bench = TensorrtBench(reference_registry(), tensorrt_variant(variant))
    sms = "86" if variant == RTX else ""
    document = built(bench.compile(model, describe_network(), sms=sms, workspace_mib="64"))
    assert document["is_strongly_typed"] and document["flags"] == [] and "calibrated" not in document
    assert document["workspace_bytes"] == 64 * 1024**2


def test_an_engine_is_for_the_gpu_that_is_here(bench: TensorrtBench, model: Path) -> None:
    entry = bench.compile(model, describe_network())
    assert entry.sm == "87" and entry.tensorrt == "trt10.3.0" and flavour_of(entry.tensorrt) == "tensorrt"
    assert bench.compile(model, sms="87").sm == "87"
    assert (entry.jetpack, bench.compile(model, jetpack="6.2").jetpack) == ("", "6.2")
    with pytest.raises(EngineBuildError, match="only for the GPU of this computer, not for SM 86"):
        bench.compile(model, sms="86")
    assert all(stream.is_closed for stream in bench.streams)


def test_rtx_compiles_for_every_gpu_that_is_named(model: Path) -> None:
    bench = TensorrtBench(reference_registry(), tensorrt_variant(RTX))
    entry = bench.compile(model, describe_network(), sms="89,86", jetpack="6.2")
    assert entry.jetpack == ""  # which this computer's need not be
    assert built(entry)["sms"] == ["SM86", "SM89"] and entry.sm == "86,89" and bench.streams == []


def test_what_tensorrt_refuses_to_build_is_told_in_its_words(bench: TensorrtBench, model: Path) -> None:
    with pytest.raises(EngineBuildError, match="no implementation for node stem") as caught:
        bench.compile(
            model, describe_network(build_refusal="Could not find any implementation: no implementation for node stem")
        )
    assert isinstance(caught.value.__cause__, TensorrtReportedError)
    with pytest.raises(OutOfMemoryError, match="workspace_mib"):
        bench.compile(model, describe_network(build_refusal="CUDA error: out of memory"))
    assert [path.name for path in model.parent.iterdir()] == [model.name]


def test_a_version_whose_interface_is_another_is_refused() -> None:
    old = TensorrtBinding("tensorrt", tensorrt_variant("tensorrt 8.6.2"))
    with pytest.raises(RuntimeNotAvailableError, match=r"8\.6\.2 is too old.*JetPack 6\.1"):
        old.require_supported()
    for variant in VARIANTS:
        TensorrtBinding(variant.split()[0], tensorrt_variant(variant)).require_supported()


def test_a_flavour_that_is_absent_says_how_to_get_it() -> None:
    from importlib.util import find_spec

    if find_spec("tensorrt") is not None:
        pytest.skip("tensorrt is installed here")
    with pytest.raises(RuntimeNotAvailableError, match="apt install python3-libnvinfer"):
        load_binding("tensorrt")


# The timing cache.


def test_the_timing_cache_is_read_and_extended(bench: TensorrtBench, model: Path, tmp_path: Path) -> None:
    cache = tmp_path / "kernels" / "timing.cache"
    bench.compile(model, describe_network(), timing_cache=str(cache))
    assert cache.read_bytes() == b"measured"
    cache.write_bytes(b"measured elsewhere too")
    bench.compile(model, timing_cache=str(cache))
    assert cache.read_bytes() == b"measured elsewhere too"
    assert [path.name for path in cache.parent.iterdir()] == ["timing.cache"]


@pytest.mark.parametrize("content", [b"garbage", b"foreign GPU"])
def test_a_timing_cache_that_does_not_fit_is_refused_and_kept(
    bench: TensorrtBench, model: Path, tmp_path: Path, content: bytes
) -> None:
    cache = tmp_path / "timing.cache"
    cache.write_bytes(content)
    with pytest.raises(EngineBuildError, match=r"timing\.cache is of another GPU or TensorRT"):
        bench.compile(model, describe_network(), timing_cache=str(cache))
    assert cache.read_bytes() == content


def test_a_build_that_fails_writes_no_timing_cache(bench: TensorrtBench, model: Path, tmp_path: Path) -> None:
    cache = tmp_path / "timing.cache"
    with pytest.raises(EngineBuildError):
        bench.compile(model, describe_network(build_refusal="no"), timing_cache=str(cache))
    assert not cache.exists()


# Calibration: TensorRT 10 alone.


@pytest.mark.parametrize(("precision", "flags"), [(INT8, ["INT8"]), (MIXED, ["FP16", "INT8"])])
def test_a_calibration_sees_every_image(
    bench: TensorrtBench, model: Path, images: Path, precision: PrecisionMode, flags: list[str]
) -> None:
    document = built(bench.compile(model, describe_network(), precision, calibration_images=str(images)))
    assert document["calibrated"] == 4.5 and document["flags"] == flags and not document["is_strongly_typed"]
    assert model.with_suffix(".calibration").read_bytes() == b"4.5"
    claims = json.loads(model.with_suffix(".calibration.json").read_text())
    assert set(claims) == {"schema_version", "cache_sha256", "dataset_sha256", "model_sha256"}
    assert all(stream.is_closed for stream in bench.streams)


def test_a_calibration_that_is_kept_needs_no_gpu_memory(bench: TensorrtBench, model: Path, images: Path) -> None:
    first = bench.compile(model, describe_network(), INT8, calibration_images=str(images))
    bench.streams.clear()
    again = bench.compile(model, None, INT8, calibration_images=str(images))
    assert again.sha256 == first.sha256
    assert [stream.allocations for stream in bench.streams] == [0]  # opened to ask for the compute capability


def test_a_calibration_of_other_images_is_refused_and_kept(bench: TensorrtBench, model: Path, images: Path) -> None:
    bench.compile(model, describe_network(), INT8, calibration_images=str(images))
    np.save(images, np.zeros((5, 3, 32, 32), np.float32))
    with pytest.raises(CalibrationCacheError, match="made from the data set"):
        bench.compile(model, None, INT8, calibration_images=str(images))
    assert model.with_suffix(".calibration").read_bytes() == b"4.5"


def test_a_corrupt_sidecar_stops_the_build_and_is_kept(bench: TensorrtBench, model: Path, images: Path) -> None:
    entry = bench.compile(model, describe_network(), INT8, calibration_images=str(images))
    entry.path.unlink()
    sidecar = model.with_suffix(".calibration.json")
    sidecar.write_text("{")
    with pytest.raises(CalibrationCacheError, match="corrupt"):
        bench.compile(model, None, INT8, calibration_images=str(images))
    assert sidecar.read_text() == "{" and not entry.path.exists()


def test_a_build_that_fails_keeps_no_calibration(bench: TensorrtBench, model: Path, images: Path) -> None:
    model.write_bytes(describe_network())
    config = BuildConfig(INT8, extras=MappingProxyType({"calibration_images": str(images)}))
    with pytest.raises(EngineBuildError, match="cancelled"):
        bench.runtime().compile_engine(model, config, is_cancelled=lambda: True)
    assert sorted(path.name for path in model.parent.iterdir()) == [images.name, model.name]


def test_a_device_that_fails_while_calibrating_ends_the_build(bench: TensorrtBench, model: Path, images: Path) -> None:
    bench.stream_options = {"limit_bytes": 16}
    with pytest.raises(OutOfMemoryError, match="allocating 12288 bytes"):
        bench.compile(model, describe_network(), INT8, calibration_images=str(images))
    assert sorted(path.name for path in model.parent.iterdir()) == [images.name, model.name]


@pytest.mark.parametrize("variant", [TENSORRT_11, RTX])
def test_without_calibrators_q_dq_nodes_are_asked_for(variant: str, model: Path, images: Path) -> None:
    bench = TensorrtBench(reference_registry(), tensorrt_variant(variant))
    sms = "86" if variant == RTX else ""
    with pytest.raises(EngineBuildError, match="Q/DQ"):
        bench.compile(model, describe_network(), INT8, calibration_images=str(images), sms=sms)
    layers = ({"type": "QUANTIZE", "dtype": "float32"}, {"type": "DEQUANTIZE", "dtype": "float32"})
    assert built(bench.compile(model, describe_network(layers=layers), INT8, sms=sms))["is_strongly_typed"]


def test_calibration_is_for_int8(bench: TensorrtBench, model: Path, images: Path) -> None:
    with pytest.raises(EngineBuildError, match="not for fp16"):
        bench.compile(model, describe_network(), calibration_images=str(images))
