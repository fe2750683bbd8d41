"""The shipped groups, as diagnostic_aggregator 4 (Jazzy) reads and matches them.

What is modelled here is in its sources: a status that no group takes goes to `Other`; a group without any status is
STALE, and one STALE group among others turns the root to ERROR. That each status of each running node lands in one
group, `test_every_node.py` looks at.
"""

from typing import Any

import pytest
from aggregator_groups import aggregator_groups, takers

from gps_denied_inference.ros.node_reports import TASKS

_NODES = ("inference_node", "pytorch_fp16_node", "tensorrt_node", "onnx_trt_ep_node")


@pytest.fixture(scope="module")
def groups() -> dict[str, dict[str, Any]]:
    return aggregator_groups()


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
    assert [takers(groups, f"{namespace}/{node}: {task}") for task in TASKS if task not in ("memory", "thermal")] == [
        [task] for task in TASKS if task not in ("memory", "thermal")
    ]
    for task in ("memory", "thermal"):
        assert takers(groups, f"{namespace}/{node}: {task}") == ["computer"]
    for task in ("engine", "inference", "degradation"):
        assert takers(groups, f"{namespace}/{node}: {task} local_2") == [task]


def test_one_node_alone_leaves_no_group_empty(groups: dict[str, dict[str, Any]]) -> None:
    filled = {group for task in TASKS for group in takers(groups, f"/inference_node: {task}")}
    assert filled == groups.keys()


def test_thermal_monitor_is_of_the_computer_and_strangers_are_left_alone(groups: dict[str, dict[str, Any]]) -> None:
    assert takers(groups, "/left/thermal_monitor: thermal") == ["computer"]
    assert takers(groups, "/camera_node: input") == [] == takers(groups, "/inference_node: engine, warm")
