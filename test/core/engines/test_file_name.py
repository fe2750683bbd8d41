"""Names of engine files parse back to what they were made of, and nothing else parses."""

from __future__ import annotations

import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_engines import HOST_NAME, NAME

from gps_denied_inference.core.contracts import PrecisionMode, RuntimeLabel
from gps_denied_inference.core.engines import EngineFileName, HostTuple
from gps_denied_inference.core.errors import EngineSchemaMismatchError

_VERSIONS = st.lists(st.integers(0, 999), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
_WORDS = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8)

_NAMES = st.builds(
    EngineFileName,
    model=st.lists(_WORDS, min_size=1, max_size=4).map("_".join),
    runtime=st.sampled_from(RuntimeLabel),
    sms=st.lists(st.integers(50, 130), unique=True, max_size=4).map(lambda sms: tuple(map(str, sorted(sms)))),
    platform=st.one_of(
        st.just("any"),
        _VERSIONS.map("jp{}".format),
        st.builds("cuda{}-{}".format, _VERSIONS, st.sampled_from(["x86_64", "aarch64"])),
    ),
    toolchain=st.one_of(
        st.sampled_from(["onnx", "torch", "fake"]),
        st.builds("{}{}".format, st.sampled_from(["trt", "rtx"]), _VERSIONS),
        st.builds("ortep{}-trt{}".format, _VERSIONS, _VERSIONS),
    ),
    precision=st.sampled_from(PrecisionMode),
    digest=st.text("0123456789abcdef", min_size=12, max_size=12),
    suffix=st.sampled_from([".engine", ".onnx", ".safetensors", ".pth", ".pt", ".yaml"]),
)

_GOOD = "small_model__tensorrt__sm87-89__jp6.2__trt10.3.0__fp16__0123456789ab.engine"


@given(_NAMES)
def test_every_name_parses_back_to_its_parts(name: EngineFileName) -> None:
    text = name.text()
    assert EngineFileName.parse(text) == name
    assert "/" not in text and len(text) < 255


@given(st.text(max_size=80))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(EngineSchemaMismatchError):
        EngineFileName.parse(text)


@given(st.data(), _NAMES)
def test_name_with_a_changed_character_is_refused_or_says_so(data: st.DataObject, name: EngineFileName) -> None:
    text = name.text()
    position = data.draw(st.integers(0, len(text) - 1))
    changed = text[:position] + data.draw(st.characters()) + text[position + 1 :]
    try:
        found = EngineFileName.parse(changed)
    except EngineSchemaMismatchError:
        return
    assert found.text() == changed
    assert (found == name) == (changed == text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("small_model", ""),
        ("small_model", "Small_model"),
        ("small_model", "small-model"),
        ("small_model", "../small_model"),
        ("small_model", "small___model"),
        ("tensorrt", "caffe"),
        ("tensorrt", "TENSORRT"),
        ("sm87-89", "sm"),
        ("sm87-89", "87"),
        ("sm87-89", "sm8"),
        ("sm87-89", "sm87_89"),
        ("sm87-89", "sm87-"),
        ("jp6.2", "jp"),
        ("jp6.2", "6.2"),
        ("jp6.2", "cudaX-x86_64"),
        ("jp6.2", "cuda13.0"),
        ("jp6.2", "cuda13.0-"),
        ("jp6.2", "cuda13.0-x86__64"),
        ("jp6.2", "linux"),
        ("trt10.3.0", "trt"),
        ("trt10.3.0", "10.3.0"),
        ("trt10.3.0", "ortep1.32.0"),
        ("trt10.3.0", "ortep1.32.0-trt"),
        ("trt10.3.0", "trt10.3.0-trt10.3.0"),
        ("trt10.3.0", "openvino2025"),
        ("fp16", "fp8"),
        ("fp16", ""),
        ("0123456789ab", "0123456789a"),
        ("0123456789ab", "0123456789abc"),
        ("0123456789ab", "0123456789AB"),
        ("0123456789ab", "0123456789ag"),
        (".engine", ""),
        (".engine", ".plan"),
        (".engine", ".engine\n"),
        ("__fp16", ""),
        ("__fp16", "__fp16__fp16"),
        ("__", "_"),
    ],
)
def test_wrong_part_is_refused(old: str, new: str) -> None:
    assert EngineFileName.parse(_GOOD).sms == ("87", "89")
    with pytest.raises(EngineSchemaMismatchError, match="engine's file name"):
        EngineFileName.parse(_GOOD.replace(old, new))


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "two__parts"},
        {"sms": ("8.7",)},
        {"platform": ""},
        {"toolchain": "trt"},
        {"digest": ""},
        {"suffix": "engine"},
    ],
)
def test_name_that_could_not_be_read_back_cannot_be_made(changes: dict[str, object]) -> None:
    with pytest.raises(EngineSchemaMismatchError):
        replace(HOST_NAME, **changes)  # type: ignore[arg-type]  # of a field each


_ORIN = HostTuple(sms=("87",), jetpack="6.2", cuda="12.6", tensorrt="10.3.0", machine="aarch64")


def test_engine_fits_the_computer_that_it_names_and_portable_ones_fit_any() -> None:
    assert HOST_NAME.mismatches(_ORIN) == ()
    assert NAME.mismatches(HostTuple()) == NAME.mismatches(_ORIN) == ()


@pytest.mark.parametrize(
    ("name", "host", "sentence"),
    [
        (HOST_NAME, replace(_ORIN, sms=("89",)), "it was built for SM 87, this computer has SM 89"),
        (HOST_NAME, replace(_ORIN, sms=()), "it was built for SM 87, this computer has no GPU"),
        (HOST_NAME, replace(_ORIN, jetpack="6.1"), "it was built for JetPack 6.2, this computer has JetPack 6.1"),
        (HOST_NAME, replace(_ORIN, jetpack=""), "it was built for JetPack 6.2, this computer has no JetPack"),
        (HOST_NAME, replace(_ORIN, tensorrt="10.7.0"), "built by TensorRT 10.3.0, this computer has TensorRT 10.7.0"),
        (HOST_NAME, replace(_ORIN, tensorrt=""), "it was built by TensorRT 10.3.0, this computer has no TensorRT"),
        (
            replace(HOST_NAME, toolchain="rtx1.7.1"),
            replace(_ORIN, tensorrt_rtx=""),
            "it was built by TensorRT for RTX 1.7.1, this computer has no TensorRT for RTX",
        ),
        (
            replace(HOST_NAME, toolchain="ortep1.32.0-trt10.3.0"),
            replace(_ORIN, onnxruntime="1.31.0"),
            "it was built by ONNX Runtime 1.32.0, this computer has ONNX Runtime 1.31.0",
        ),
        (
            replace(HOST_NAME, toolchain="ortep1.32.0-trt10.9.0"),
            replace(_ORIN, onnxruntime="1.32.0"),
            "it was built by TensorRT 10.9.0, this computer has TensorRT 10.3.0",
        ),
        (
            replace(HOST_NAME, platform="cuda12.0-x86_64"),
            _ORIN,
            "it was built for x86_64, this computer is aarch64",
        ),
        (
            replace(HOST_NAME, platform="cuda13.0-aarch64"),
            _ORIN,
            "it was built for CUDA 13.0, this computer runs CUDA up to 12.6",
        ),
        (
            replace(HOST_NAME, platform="cuda12.0-aarch64"),
            replace(_ORIN, cuda=""),
            "it was built for CUDA 12.0, this computer has no CUDA driver",
        ),
    ],
)
def test_misfit_is_one_sentence(name: EngineFileName, host: HostTuple, sentence: str) -> None:
    (found,) = name.mismatches(host)
    assert sentence in found


def test_every_misfit_is_told() -> None:
    assert len(HOST_NAME.mismatches(HostTuple())) == 3


def test_driver_of_newer_cuda_and_one_fitting_gpu_of_several_suffice() -> None:
    name = replace(HOST_NAME, platform="cuda12.4-aarch64", sms=("87", "89"))
    assert name.mismatches(replace(_ORIN, cuda="13.0", sms=("80", "89"))) == ()
    # As numbers, not as text.
    assert len(replace(name, platform="cuda12.10-aarch64").mismatches(_ORIN)) == 1
