"""Models compiled for the TensorRT provider, with a stand-in for it: what it is told, and where its work lies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ep_context_stand_in import CPU, TENSORRT, Provider, install_provider

from gps_denied_inference.core.contracts import BuildConfig, OptimizationProfile, PrecisionMode
from gps_denied_inference.core.errors import EngineBuildError, GpsDeniedInferenceError, RuntimeNotAvailableError
from gps_denied_inference.core.runtime import onnx_ep_context
from gps_denied_inference.core.runtime.onnx_ep_context import build_ep_context, holds_ep_context

_FP16 = BuildConfig(PrecisionMode.FP16)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[Provider], None]:
    return lambda provider: install_provider(provider, monkeypatch)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "network.onnx"
    path.write_bytes(b"onnx")
    return path


def test_compiled_model_is_one_file_in_a_folder_of_its_own(model: Path, install: Callable[[Provider], None]) -> None:
    provider = Provider()
    install(provider)
    path = build_ep_context(model, b"onnx", _FP16, 1)
    assert path.name == model.name and path.parent.parent == model.parent
    assert path.parent.name.startswith("network.tensorrt.") and list(path.parent.iterdir()) == [path]
    assert holds_ep_context(path.read_bytes())
    ((providers, entries),) = provider.told
    assert providers == [(TENSORRT, {"device_id": "1", "trt_fp16_enable": "1"}), (CPU, {})]
    assert (entries["ep.context_enable"], entries["ep.context_embed_mode"]) == ("1", "1")
    assert sorted(item.name for item in model.parent.iterdir()) == [model.name, path.parent.name]


def test_folder_is_named_by_all_that_the_result_depends_on(model: Path, install: Callable[[Provider], None]) -> None:
    install(Provider())
    profile = OptimizationProfile("image", (1, 3), (2, 3), (4, 3))
    folders = [
        build_ep_context(model, content, config, device).parent
        for content, config, device in (
            (b"onnx", _FP16, 0),
            (b"ONNX", _FP16, 0),
            (b"onnx", replace(_FP16, precision=PrecisionMode.FP32), 0),
            (b"onnx", replace(_FP16, profiles=(profile,)), 0),
            (b"onnx", replace(_FP16, profiles=(replace(profile, max_shape=(8, 3)),)), 0),
        )
    ]
    install(Provider(version="10.0"))
    folders.append(build_ep_context(model, b"onnx", _FP16, 0).parent)
    assert len(set(folders)) == len(folders)
    install(Provider())
    assert build_ep_context(model, b"onnx", _FP16, 0).parent == folders[0]


def test_profiles_and_precision_reach_the_provider(model: Path, install: Callable[[Provider], None]) -> None:
    provider = Provider()
    install(provider)
    profiles = tuple(OptimizationProfile(name, (1, 3), (2, 3), (4, 3)) for name in ("image", "mask"))
    build_ep_context(model, b"onnx", BuildConfig(PrecisionMode.FP32, profiles), 0)
    assert provider.told[0][0][0][1] == {
        "device_id": "0",
        "trt_fp16_enable": "0",
        "trt_profile_min_shapes": "image:1x3,mask:1x3",
        "trt_profile_opt_shapes": "image:2x3,mask:2x3",
        "trt_profile_max_shapes": "image:4x3,mask:4x3",
    }


@pytest.mark.parametrize(
    ("provider", "error", "words"),
    [
        (Provider(providers=(CPU,)), RuntimeNotAvailableError, "could not start TensorrtExecutionProvider"),
        (Provider(places=(TENSORRT, CPU)), EngineBuildError, "leaves parts of .* to CPUExecutionProvider"),
        (Provider(output=None), EngineBuildError, "wrote no EP-context model"),
        (Provider(output=b"plain"), EngineBuildError, "wrote no EP-context model"),
        (Provider(failure=RuntimeError("no tactic")), EngineBuildError, "compiling .*no tactic"),
    ],
)
def test_compilation_that_fails_leaves_nothing_and_what_was_there(
    provider: Provider,
    error: type[GpsDeniedInferenceError],
    words: str,
    model: Path,
    install: Callable[[Provider], None],
) -> None:
    install(provider)
    with pytest.raises(error, match=words):
        build_ep_context(model, b"onnx", _FP16, 0)
    assert list(model.parent.iterdir()) == [model]
    install(Provider())
    path = build_ep_context(model, b"onnx", _FP16, 0)
    before = path.read_bytes()
    install(provider)
    with pytest.raises(error):
        build_ep_context(model, b"onnx", _FP16, 0)
    assert path.read_bytes() == before
    assert sorted(model.parent.iterdir()) == sorted([model, path.parent])


def test_interrupted_compilation_leaves_no_folder(
    model: Path, install: Callable[[Provider], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = Provider()
    install(provider)

    def interrupt(*arguments: Any) -> Any:
        provider.make_session(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(onnx_ep_context, "make_session", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build_ep_context(model, b"onnx", _FP16, 0)
    assert provider.told and list(model.parent.iterdir()) == [model]
