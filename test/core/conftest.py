"""A real ONNX export, made once: it takes ten seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from gps_denied_inference.core.contracts import PrecisionMode


@pytest.fixture(scope="session")
def grid_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`efficientnet_lite0_grid` in FP16."""
    for package in ("torch", "onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    from gps_denied_inference.core.architectures import default_registry, locate_weights
    from gps_denied_inference.core.engines.onnx_export import export_onnx

    entry = default_registry().lookup("efficientnet_lite0_grid")
    path = tmp_path_factory.mktemp("onnx") / f"{entry.name}.onnx"
    return export_onnx(entry, locate_weights(entry.spec, entry.name, None), PrecisionMode.FP16, path).path
