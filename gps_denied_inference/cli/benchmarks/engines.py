"""Engines that the parts run: the default network with its published weights."""

from __future__ import annotations

from pathlib import Path

from gps_denied_inference.core.architectures import default_registry
from gps_denied_inference.core.contracts import EngineCacheEntry, PrecisionMode, RuntimeLabel
from gps_denied_inference.core.engines import EngineGate, EngineStore, probe_host
from gps_denied_inference.core.engines.build import BuildRequest, build_engine
from gps_denied_inference.core.errors import EngineManifestError

__all__ = ["MODEL", "onnx_engine", "store_folder"]

MODEL = "efficientnet_lite0_grid"


def store_folder(output: Path) -> Path:
    """Where the engines of the benchmark lie."""
    return output / "engines"


def onnx_engine(output: Path) -> EngineCacheEntry:
    """Return the gated ONNX engine of the default network, built when it is not there yet.

    Raises:
        EngineBuildError: the weights or packages are absent, or the export failed.
    """
    store, host = EngineStore(store_folder(output)), probe_host()
    try:
        entry = store.find(model=MODEL, runtime=RuntimeLabel.ONNX_TRT_EP, precision=PrecisionMode.FP32, host=host)
    except EngineManifestError:
        request = BuildRequest(MODEL, RuntimeLabel.ONNX_TRT_EP, PrecisionMode.FP32)
        entry = build_engine(request, store, registry=default_registry(), host=host)
    return EngineGate(store, host).validate(store.path_of(entry)).require()
