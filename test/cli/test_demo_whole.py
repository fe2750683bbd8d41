"""The whole demo, judged by its own bounds: as `make demo` runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="the demo's nodes need ROS 2")

from dds_segments import fast_dds_segments, remove_abandoned


@pytest.mark.long
def test_whole_demo_meets_its_bounds(tmp_path: Path) -> None:
    before = fast_dds_segments()
    command = [sys.executable, "-m", "gps_denied_inference.cli.main", "demo", "--output", str(tmp_path / "demo")]
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=600, check=False)
    remove_abandoned(fast_dds_segments() - before)
    assert result.returncode == 0, result.stderr
    figures = json.loads((tmp_path / "demo" / "report.json").read_text())
    assert figures["passed"] is True
    assert figures["frames_in"] >= 200 and figures["facts"]["tile_positions"] >= 200
    assert figures["recall_at_1"] >= 0.9 and figures["recall_at_1"] - figures["recall_at_1_random"] >= 0.4
    assert figures["refined_frames"] > 0
    assert figures["median_error_refined_m"] < figures["refinement"]["median_error_retrieved_m"]
