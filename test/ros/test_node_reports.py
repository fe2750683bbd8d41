"""What operators and other nodes see: diagnostics, health, thermal state; two instances side by side."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from node_harness import Client, NodeLauncher, image_message, wait_for
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

import gps_denied_inference.msg as messages
from gps_denied_inference.ros.qos import LATCHED

_PIXELS = np.zeros((48, 64, 3), np.uint8)
_TASKS = ("engine", "inference", "input", "memory", "thermal", "degradation", "node")


def _status(diagnostics: list[Any], name: str) -> Any:
    return next((s for array in reversed(diagnostics) for s in array.status if s.name == name), None)


def test_every_task_reports_under_its_fully_qualified_name(
    client: Client, launcher: NodeLauncher, fake_engine: tuple[str, ...]
) -> None:
    node = launcher.start(*fake_engine, namespace="/left")
    diagnostics = client.diagnostics()
    client.bring_up("/left/inference_node")
    for task in _TASKS:
        wait_for(partial(_status, diagnostics, f"/left/inference_node: {task}"), f"the task {task}")
    statuses = [status for array in diagnostics for status in array.status]
    assert all(status.level != DiagnosticStatus.STALE for status in statuses)
    wait_for(
        lambda: _status(diagnostics, "/left/inference_node: engine").level == DiagnosticStatus.WARN,
        "the ungated engine",
    )
    assert "allow_ungated" in _status(diagnostics, "/left/inference_node: engine").message
    wait_for(
        lambda: "waiting for the first image" in _status(diagnostics, "/left/inference_node: input").message,
        "the missing camera",
    )
    assert node.end() == 0


def test_two_instances_in_two_namespaces_answer_their_own_images(
    client: Client, launcher: NodeLauncher, fake_engine: tuple[str, ...]
) -> None:
    nodes = [launcher.start(*fake_engine, namespace=name) for name in ("/left", "/right")]
    features = {name: client.features(name) for name in ("/left", "/right")}
    diagnostics = client.diagnostics()
    for index, name in enumerate(features):
        client.bring_up(f"{name}/inference_node")
        publisher = client.image_publisher(f"{name}/image")
        publisher.publish(image_message(_PIXELS, "rgb8", index, f"camera{name}"))
    for name, received in features.items():
        wait_for(received.__len__, f"the answer of {name}")
        assert len(received) == 1
        assert received[0].header.frame_id == received[0].camera_id == f"camera{name}"
        wait_for(partial(_status, diagnostics, f"{name}/inference_node: engine"), f"diagnostics of {name}")
    assert [node.end() for node in nodes] == [0, 0]


def test_camera_and_subscriber_with_another_qos_are_diagnosed(
    client: Client, launcher: NodeLauncher, fake_engine: tuple[str, ...]
) -> None:
    node = launcher.start(*fake_engine, "input_reliability:=reliable")
    diagnostics, health = client.diagnostics(), client.health()
    client.bring_up()
    client.node.create_publisher(Image, "/image", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))

    def is_diagnosed() -> bool:
        status = _status(diagnostics, "/inference_node: input")
        return status is not None and status.level == DiagnosticStatus.ERROR and "input_reliability" in status.message

    wait_for(is_diagnosed, "the incompatible QoS in the diagnostics")
    assert "RELIABILITY" in node.log
    wait_for(lambda: "RELIABILITY" in health[-1].input_qos_incompatibility, "the same for programs")
    # And the other way round: whoever wants the last features latched gets none.
    durable = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    estimator = client.node.create_subscription(messages.GlobalDescriptor, "/global_descriptor", print, durable)

    def is_output_diagnosed(level: bytes, word: str) -> bool:
        status = _status(diagnostics, "/inference_node: inference")
        return bool(status.level == level and word in status.message)

    wait_for(partial(is_output_diagnosed, DiagnosticStatus.WARN, "output_reliability"), "the subscriber that gets none")
    wait_for(lambda: "DURABILITY" in health[-1].output_qos_incompatibility, "the same for programs")
    client.node.destroy_subscription(estimator)
    wait_for(partial(is_output_diagnosed, DiagnosticStatus.OK, ""), "the OK when it has left")
    assert node.end() == 0


def test_thermal_state_is_latched_and_never_claims_what_is_not_known(
    client: Client, launcher: NodeLauncher, fake_engine: tuple[str, ...]
) -> None:
    node = launcher.start(*fake_engine, "thermal_sources:=['']")
    assert client.change_state("configure")
    states = client.collect(messages.ThermalState, "/thermal_state", LATCHED)
    diagnostics = client.diagnostics()
    state = wait_for(lambda: states and states[-1], "the latched thermal_state")
    assert not state.is_telemetry_available
    assert not state.thermal_throttle_active
    assert state.cause

    def is_unknown() -> bool:
        status = _status(diagnostics, "/inference_node: thermal")
        return status is not None and status.level == DiagnosticStatus.WARN and "unknown" in status.message

    wait_for(is_unknown, "an unknown thermal state as WARN")
    assert client.change_state("cleanup")
    wait_for(lambda: "not configured" in states[-1].cause, "the latched state taken back at cleanup")
    assert node.end() == 0


def test_model_info_reaches_a_subscriber_that_comes_late(
    client: Client, launcher: NodeLauncher, fake_engine: tuple[str, ...]
) -> None:
    node = launcher.start(*fake_engine)
    client.bring_up()
    infos = client.model_info()
    info = wait_for(lambda: infos and infos[-1], "the latched model_info")
    assert (info.runtime, info.model, info.is_gated) == ("fake", "efficientnet_lite0_grid", False)
    assert node.end() == 0


@pytest.mark.parametrize("name", ["global_descriptor", "model_info", "engine_health", "thermal_state"])
def test_topics_are_relative_and_can_be_remapped(
    client: Client, launcher: NodeLauncher, fake_engine: tuple[str, ...], name: str
) -> None:
    node = launcher.start(*fake_engine, remaps=(f"{name}:=/elsewhere/{name}",))
    client.bring_up()
    wait_for(lambda: client.node.count_publishers(f"/elsewhere/{name}") == 1, f"{name} at its new place")
    assert client.node.count_publishers(f"/{name}") == 0
    assert node.end() == 0
