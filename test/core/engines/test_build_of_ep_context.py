"""Builds for the TensorRT provider of ONNX Runtime, which a stand-in plays: what is compiled, and what it is called."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from ep_context_stand_in import Provider, install_provider

from gps_denied_inference.core.contracts import PrecisionMode, RuntimeLabel
from gps_denied_inference.core.engines import EngineGate, EngineStore, HostTuple, build
from gps_denied_inference.core.engines.build import BuildRequest, build_engine
from gps_denied_inference.core.errors import (
    EngineBuildError,
    EngineSchemaMismatchError,
    GpsDeniedInferenceError,
    RuntimeNotAvailableError,
)

pytest.importorskip("torch", reason="torch is not installed")
onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
from test.core.runtime.reference_networks import (  # noqa: E402 - needs torch
    REFERENCE_CNN,
    reference_registry,
    write_reference_checkpoint,
)

_ORIN = HostTuple(("87",), "6.2", "12.6", tensorrt="10.9.0", onnxruntime="1.32.0", machine="aarch64")
_DESK = HostTuple(("86", "89"), cuda="13.0", tensorrt="10.9.0", onnxruntime="1.32.0", machine="x86_64")


def request(folder: Path) -> BuildRequest:
    return BuildRequest(
        REFERENCE_CNN,
        RuntimeLabel.ONNX_TRT_EP,
        PrecisionMode.FP16,
        write_reference_checkpoint(folder),
        provider="tensorrt",
    )


@pytest.mark.parametrize(
    ("host", "target"),
    [(_ORIN, "sm87__jp6.2"), (_DESK, "sm89__cuda13.0-x86_64")],
    ids=["one GPU", "different GPUs"],
)
def test_engine_is_compiled_from_fp32_and_named_by_all_that_can_run_it(
    host: HostTuple, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = Provider(version=host.onnxruntime, output=b"EPContext")
    install_provider(provider, monkeypatch)
    gpus = [SimpleNamespace(compute_capability=lambda: "89", close=lambda: None)]
    monkeypatch.setattr(build, "open_device_stream", gpus.__getitem__)
    store = EngineStore(tmp_path / "store")
    entry = build_engine(request(tmp_path), store, registry=reference_registry(), host=host)
    assert entry.file_name.startswith(f"{REFERENCE_CNN}__onnx_trt_ep__{target}__ortep1.32.0-trt10.9.0__fp16__")
    ((providers, _),) = provider.told
    assert providers[0][1]["trt_fp16_enable"] == "1"
    # The provider lowers the precision itself: what it got has no half-precision weights.
    network = onnx.load_from_string(store.path_of(entry).read_bytes().removeprefix(b"EPContext"))
    assert {item.data_type for item in network.graph.initializer} & {1, 10} == {onnx.TensorProto.FLOAT}
    assert entry.precision is PrecisionMode.FP16 and len(entry.source_onnx_sha256) == 64
    assert entry.build_flags["provider"] == "tensorrt" and entry.build_flags["opset"].isdigit()
    assert EngineGate(store, host).validate(store.path_of(entry)).require().extras["provider"] == "tensorrt"
    # ONNX Runtime is the same, TensorRT is not.
    verdict = EngineGate(store, replace(host, tensorrt="10.8.0")).validate(store.path_of(entry))
    assert isinstance(verdict.error, EngineSchemaMismatchError)
    assert "built by TensorRT 10.9.0, this computer has TensorRT 10.8.0" in str(verdict.error)
    assert str(verdict.error).endswith(" --provider tensorrt")


@pytest.mark.parametrize(
    ("host", "error", "words"),
    [
        (replace(_ORIN, tensorrt=""), RuntimeNotAvailableError, "version of TensorRT"),
        (_DESK, EngineBuildError, "SM 86, 89.*no GPU 0"),
    ],
)
def test_engine_that_could_not_be_named_is_not_built(
    host: HostTuple,
    error: type[GpsDeniedInferenceError],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    provider = Provider()
    install_provider(provider, monkeypatch)

    def refuse(index: int) -> None:
        raise RuntimeNotAvailableError(f"no GPU {index}")

    monkeypatch.setattr(build, "open_device_stream", refuse)
    store = EngineStore(tmp_path / "store")
    with pytest.raises(error, match=words):
        build_engine(request(tmp_path), store, registry=reference_registry(), host=host)
    assert not provider.told and not store.root.exists()
