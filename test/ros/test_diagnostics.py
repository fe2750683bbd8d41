"""Diagnostics through diagnostic_updater, with a stand-in of it, and without."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from builtin_interfaces.msg import Time
from diagnostic_updater_stand_in import write_diagnostic_updater
from local_node import local_node
from node_harness import Client, wait_for
from rosgraph_msgs.msg import Clock

from gps_denied_inference.core.health import TaskStatus
from gps_denied_inference.ros.diagnostics import DiagnosticsPublisher
from gps_denied_inference.ros.inference_node import InferenceNode
from gps_denied_inference.ros.node_reports import TASKS

_FIRST_S = 1000
_PARAMETERS = (
    *("use_sim_time:=true", "diagnostics_rate_hz:=10.0"),
    # Those of diagnostic_updater itself: a user may set them for all nodes.
    *("diagnostic_updater.period:=0.1", "diagnostic_updater.use_fqn:=true"),
)


@pytest.fixture(params=["as in Jazzy", "before node_name", "absent"])
def _diagnostic_updater(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "absent":
        monkeypatch.setitem(sys.modules, "diagnostic_updater", None)
        return
    monkeypatch.delitem(sys.modules, "diagnostic_updater", raising=False)
    path = write_diagnostic_updater(tmp_path, has_node_name=request.param == "as in Jazzy")
    monkeypatch.syspath_prepend(path)


@pytest.mark.usefixtures("_diagnostic_updater")
def test_exactly_the_tasks_arrive_once_a_report_under_qualified_names_in_simulated_time(
    client: Client, domain_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[Sequence[TaskStatus]] = []
    publish = DiagnosticsPublisher.publish

    def counted(publisher: DiagnosticsPublisher, statuses: Sequence[TaskStatus]) -> None:
        reports.append(statuses)
        publish(publisher, statuses)

    monkeypatch.setattr(DiagnosticsPublisher, "publish", counted)
    arrays = client.diagnostics()
    clock = client.node.create_publisher(Clock, "/clock", 10)
    ticks = 0

    def stamped() -> list[Any]:
        """Let ten simulated seconds pass, and return the arrays that were made since they began."""
        nonlocal ticks
        clock.publish(Clock(clock=Time(sec=_FIRST_S + 10 * ticks)))
        ticks += 1
        return [array for array in list(arrays) if array.header.stamp.sec >= _FIRST_S]

    with local_node(InferenceNode, domain_id, *_PARAMETERS, namespace="/left"):
        whole = wait_for(lambda: len(stamped()) >= 5 and stamped(), "five arrays in simulated time")
    for array in whole:
        assert [status.name for status in array.status] == [f"/left/inference_node: {task}" for task in TASKS]
        assert {status.hardware_id for status in array.status} == {"/left/inference_node"}
        assert array.header.stamp.nanosec == 0 and array.header.stamp.sec <= _FIRST_S + 10 * ticks
    assert [status.message for status in whole[-1].status] in [[item.message for item in items] for items in reports]
    # diagnostic_updater publishes one status at each added task; its own timer would publish all of them more often.
    assert all(status.name.startswith("/left/inference_node: ") for array in arrays for status in array.status)
    assert len([array for array in arrays if len(array.status) > 1]) <= len(reports)
