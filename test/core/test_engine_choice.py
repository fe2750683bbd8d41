"""Of several engines in a store, the one that the settings mean is loaded, not merely the newest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from small_engines import HOST_NAME, NAME, add_engine

from gps_denied_inference.core.architectures import default_registry
from gps_denied_inference.core.contracts import PrecisionMode
from gps_denied_inference.core.engine_choice import ChosenEngine, choose_engine
from gps_denied_inference.core.engines import EngineFileName, EngineStore, HostTuple
from gps_denied_inference.core.errors import EngineManifestError, EngineSchemaMismatchError
from gps_denied_inference.core.runtime.fake import FakeRuntime
from gps_denied_inference.core.settings import settings_from_mapping

_ORIN = HostTuple(
    ("87",), "6.2", "12.6", tensorrt="10.3.0", tensorrt_rtx="1.7.1", onnxruntime="1.32.0", machine="aarch64"
)
_SPEC = default_registry().lookup("efficientnet_lite0_grid").spec
_CONTEXT = replace(NAME, sms=("87",), platform="jp6.2", toolchain="ortep1.32.0-trt10.3.0")
_RTX = replace(HOST_NAME, platform="any", toolchain="rtx1.7.1", precision=PrecisionMode.FP32)
_TRT = replace(HOST_NAME, precision=PrecisionMode.FP32)

_KINDS: dict[str, tuple[EngineFileName, dict[str, str]]] = {
    "plain": (NAME, {"provider": "cpu"}),
    "cuda": (NAME, {"provider": "cuda"}),
    "context": (_CONTEXT, {"provider": "tensorrt"}),
    "rtx": (_RTX, {"flavour": "tensorrt_rtx"}),
    "trt": (_TRT, {"flavour": "tensorrt"}),
}


_OF_THE_ENGINE = ("runtime", "precision", "device", "engine_file", "onnx_providers", "tensorrt_flavour")


def choose(
    folder: Path, kinds: Sequence[str], changes: Mapping[str, object], host: HostTuple = _ORIN
) -> tuple[ChosenEngine, dict[str, str]]:
    """Fill a store, oldest first, and choose; also returns which file is of which kind."""
    store = EngineStore(folder / "store")
    files = {}
    for kind in kinds:
        name, flags = _KINDS[kind]
        path = add_engine(store, kind.encode(), name, preprocess_sha256=_SPEC.preprocess.sha256, build_flags=flags)
        files[path.name] = kind
    values = {f"primary.{key}" if key in _OF_THE_ENGINE else key: value for key, value in changes.items()}
    given = {"primary.runtime": "onnx_trt_ep", "primary.precision": "fp32", **values}
    settings = settings_from_mapping({"engine_store": str(store.root), **given})
    engine = replace(settings.engine(), model=NAME.model)
    return choose_engine(settings, engine, _SPEC, FakeRuntime(), host), files


@pytest.mark.parametrize(
    ("kinds", "changes", "expected"),
    [
        (("context", "plain"), {}, "context"),
        (("context", "cuda"), {}, "context"),
        (("plain", "context"), {"device": "cpu"}, "plain"),
        (("plain", "context"), {"onnx_providers": ["cuda", "cpu"]}, "plain"),
        (("plain", "context"), {"onnx_providers": ["cuda", "tensorrt", "cpu"]}, "plain"),
        (("plain", "cuda"), {}, "cuda"),
        (("cuda", "plain"), {}, "cuda"),
        (("plain",), {"allow_cpu_fallback": True}, "plain"),
        (("context",), {"onnx_providers": ["cuda", "tensorrt"], "allow_cpu_fallback": True}, "context"),
        (("trt", "rtx"), {"runtime": "tensorrt"}, "rtx"),
        (("trt", "rtx"), {"runtime": "tensorrt", "tensorrt_flavour": "tensorrt"}, "trt"),
        (("rtx", "trt"), {"runtime": "tensorrt", "tensorrt_flavour": "tensorrt_rtx"}, "rtx"),
    ],
)
def test_newest_of_the_engines_that_the_settings_mean_is_taken(
    kinds: Sequence[str], changes: dict[str, object], expected: str, tmp_path: Path
) -> None:
    chosen, files = choose(tmp_path, kinds, changes)
    assert files[chosen.entry.path.name] == expected and chosen.is_gated and not chosen.fallback_reason


@pytest.mark.parametrize(
    ("kinds", "changes", "words"),
    [
        (("plain",), {}, "nothing in it is compiled for TensorRT"),
        (("context",), {"device": "cpu"}, "compiled for TensorRT, which the settings leave out"),
        (("context",), {"onnx_providers": ["cuda"], "allow_cpu_fallback": True}, "which the settings leave out"),
        (("context",), {"onnx_providers": ["cuda", "tensorrt"]}, "compiled for TensorRT, not for cuda"),
        (("rtx",), {"runtime": "tensorrt", "tensorrt_flavour": "tensorrt"}, "tensorrt_rtx built it"),
        (("plain",), {"precision": "fp16", "allow_cpu_fallback": True}, "its precision is fp32"),
    ],
)
def test_engine_that_the_settings_do_not_mean_is_refused_with_the_reason(
    kinds: Sequence[str], changes: dict[str, object], words: str, tmp_path: Path
) -> None:
    with pytest.raises(EngineManifestError, match=words) as caught:
        choose(tmp_path, kinds, changes)
    assert "gdi engine build" in str(caught.value)


def test_fp32_stands_in_for_fp16_without_a_gpu_and_with_leave_alone(tmp_path: Path) -> None:
    no_gpu = replace(_ORIN, sms=())
    wish = {"precision": "fp16"}
    chosen, _ = choose(tmp_path, ("plain",), {**wish, "allow_cpu_fallback": True}, no_gpu)
    assert chosen.entry.precision is PrecisionMode.FP32
    assert "the store has none of fp16" in chosen.fallback_reason
    with pytest.raises(EngineManifestError, match="its precision is fp32"):
        choose(tmp_path, (), wish, no_gpu)


def test_line_for_a_named_engine_of_another_computer_is_of_the_settings(tmp_path: Path) -> None:
    _, files = choose(tmp_path, ("context",), {})
    wish = {"engine_file": next(iter(files)), "onnx_providers": ["cuda"], "weights_dir": "/weights"}
    with pytest.raises(EngineSchemaMismatchError, match=r"no GPU.*--provider cuda --weights-dir /weights$"):
        choose(tmp_path, (), wish, replace(_ORIN, sms=()))
