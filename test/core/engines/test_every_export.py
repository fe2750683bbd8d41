"""Every registered network, exported anew and compared with torch; see docs/models.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from gps_denied_inference.cli.model_table import read_onnx_exports
from gps_denied_inference.core.architectures import ArchitectureRegistry, entries
from gps_denied_inference.core.contracts import PrecisionMode
from gps_denied_inference.core.errors import EngineBuildError

for package in ("torch", "transformers", "kornia", "onnx", "onnxscript", "onnxruntime", "safetensors"):
    pytest.importorskip(package, reason=f"{package} is not installed")
from test.golden.exports import PRECISIONS, checkpoint_of, export_outcome  # noqa: E402 - with onnxruntime

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

RECORD = sorted((Path(__file__).parents[3] / "docs" / "measurements").glob("models-*-onnx.json"))[-1]


def ours() -> ArchitectureRegistry:
    registry = ArchitectureRegistry()
    entries.register(registry)
    return registry


@pytest.mark.parametrize("precision", PRECISIONS, ids=lambda precision: str(precision.value))
@pytest.mark.parametrize("name", list(ours()))
def test_network_exports_as_the_record_says(name: str, precision: PrecisionMode, tmp_path: Path) -> None:
    entry = ours().lookup(name)
    try:
        checkpoint_of(entry, tmp_path)
    except EngineBuildError as error:
        pytest.skip(str(error))
    complaint = read_onnx_exports(RECORD).complaints[name][precision.value]
    outcome = export_outcome(entry, precision, tmp_path)
    assert outcome["agrees"] is not bool(complaint), outcome
