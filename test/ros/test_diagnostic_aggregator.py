"""The shipped groups, as diagnostic_aggregator 4 (Jazzy) reads and matches them.

What is modelled here is in its sources: `GenericAnalyzer` takes a status whose name one of its `regex` matches as a
whole (ECMAScript); a status that no group takes goes to `Other`; a group without any status is STALE, and one STALE
group among others turns the root to ERROR.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ament_index_python.packages import get_package_share_directory

from gps_denied_inference.ros.node_reports import TASKS

_NODES = ("inference_node", "pytorch_fp16_node", "tensorrt_node", "onnx_trt_ep_node")


@pytest.fixture(scope="module")
def groups() -> dict[str, dict[str, Any]]:
    path = Path(get_package_share_directory("gps_denied_inference")) / "config" / "diagnostic_aggregator.yaml"
    parameters = yaml.safe_load(path.read_text())["analyzers"]["ros__parameters"]
    assert isinstance(parameters["pub_rate"], float) and isinstance(parameters["path"], str)
    return {name: value for name, value in parameters.items() if isinstance(value, dict)}


def _takers(groups: dict[str, dict[str, Any]], name: str) -> list[str]:
    return [key for key, group in groups.items() if any(re.fullmatch(regex, name) for regex in group["regex"])]


def test_groups_have_the_parameters_that_the_aggregator_asks_for(groups: dict[str, dict[str, Any]]) -> None:
    for group in groups.values():
        assert group.keys() == {"type", "path", "regex", "timeout"}
        assert group["type"] == "diagnostic_aggregator/GenericAnalyzer"
        assert isinstance(group["timeout"], float) and all(isinstance(item, str) for item in group["regex"])
    assert len({group["path"] for group in groups.values()}) == len(groups)


@pytest.mark.parametrize("node", _NODES)
@pytest.mark.parametrize("namespace", ["", "/left", "/fleet/uav_1"])
def test_every_task_of_every_node_lands_in_one_group(
    groups: dict[str, dict[str, Any]], node: str, namespace: str
) -> None:
    assert [_takers(groups, f"{namespace}/{node}: {task}") for task in TASKS if task not in ("memory", "thermal")] == [
        [task] for task in TASKS if task not in ("memory", "thermal")
    ]
    for task in ("memory", "thermal"):
        assert _takers(groups, f"{namespace}/{node}: {task}") == ["computer"]
    for task in ("engine", "inference", "degradation"):
        assert _takers(groups, f"{namespace}/{node}: {task} local_2") == [task]


def test_one_node_alone_leaves_no_group_empty(groups: dict[str, dict[str, Any]]) -> None:
    filled = {group for task in TASKS for group in _takers(groups, f"/inference_node: {task}")}
    assert filled == groups.keys()


def test_thermal_monitor_is_of_the_computer_and_strangers_are_left_alone(groups: dict[str, dict[str, Any]]) -> None:
    assert _takers(groups, "/left/thermal_monitor: thermal") == ["computer"]
    assert _takers(groups, "/camera_node: input") == [] == _takers(groups, "/inference_node: engine, warm")
