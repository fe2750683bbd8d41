"""The benchmark of the gate measures the gate: an engine that it accepts, beside the hash of the same file."""

import json
from pathlib import Path

import pytest

from gps_denied_inference.cli.benchmarks import gate
from gps_denied_inference.cli.main import main


def test_gate_is_measured_beside_the_bare_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gate, "_LARGE_BYTES", 2 * 1024**2)
    assert main(["bench", "gate", "--quick", "--output", str(tmp_path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((tmp_path / "report.json").read_text())
    (part,) = report["parts"]
    assert [item["case"] for item in part["comparisons"]] == ["engine of 2 MiB", "engine of 1024 bytes"]
    for comparison in part["comparisons"]:
        assert [row["role"] for row in comparison["rows"]] == ["limit", "ours", "baseline"]
        assert all(row["median"] > 0 and row["facts"]["gb_per_s"] > 0 for row in comparison["rows"])
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]  # hundreds of MiB are not left behind
