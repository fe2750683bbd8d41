"""The parts of the benchmark that need ROS run, and are complete."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gps_denied_inference.cli.main import main


def test_publish_runs_and_is_complete(tmp_path: Path) -> None:
    assert main(["bench", "publish", "--quick", "--output", str(tmp_path)]) == 0
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["problems"] == []
    assert len(document["parts"][0]["comparisons"]) == 4
    assert "| fill and publish 8,448 floats | ≤ 0.02 ms |" in (tmp_path / "report.md").read_text()


@pytest.mark.long
def test_every_part_runs_and_is_complete(tmp_path: Path) -> None:
    assert main(["bench", "--quick", "--output", str(tmp_path)]) == 0
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["problems"] == []
    rows = {
        comparison["case"]: {row["role"]: row for row in comparison["rows"]}
        for part in document["parts"]
        for comparison in part["comparisons"]
    }
    whole = next(roles for case, roles in rows.items() if case.startswith("1920x1080 rgb8 at 30 Hz"))
    assert whole["ours"]["facts"]["received"] > whole["baseline"]["facts"]["received"]
    assert rows["the node alone, steps added up"]["ours"]["facts"]["take"] > 0.0
