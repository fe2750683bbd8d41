"""Another engine takes the present one's place while the node works; on any failure the present one stays."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from node_harness import Client, NodeLauncher, image_message, wait_for
from node_parameters import fake_parameters
from rclpy.qos import QoSProfile, ReliabilityPolicy

import gps_denied_inference.srv as services

_PIXELS = np.zeros((48, 64, 3), np.uint8)
_SERVICE = "/inference_node/load_engine"
_DEEP = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)


def _script(folder: Path, text: str) -> str:
    path = folder / "other.yaml"
    path.write_text(text + "\n")
    return str(path)


def _load(client: Client, **request: Any) -> Any:
    return client.call(services.LoadEngine, _SERVICE, services.LoadEngine.Request(**request))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def test_new_engine_takes_over_between_frames_and_every_frame_is_counted(
    client: Client, launcher: NodeLauncher, folder: Path
) -> None:
    launcher.start(*fake_parameters(folder, "latency_ms: 5.0"), "input_depth:=100", "input_reliability:=reliable")
    features, health, infos = client.features(), client.health(), client.model_info()
    client.bring_up()
    publisher = client.image_publisher(node_qos=_DEEP)
    before = wait_for(lambda: infos and infos[-1], "model_info")
    answers: list[Any] = []
    # The load takes a second, so that frames come before, during and after it.
    path = _script(folder, "{latency_ms: 6.0, load_latency_ms: 1000, seed: 7}")
    request = services.LoadEngine.Request(checkpoint=path, allow_other_space=True)
    caller = client.node.create_client(services.LoadEngine, _SERVICE)
    assert caller.wait_for_service(30.0)
    sent = 0

    def send() -> None:
        nonlocal sent
        sent += 1
        publisher.publish(image_message(_PIXELS, "rgb8", sent))

    send()
    wait_for(lambda: len(features) >= 1, "a frame of the old engine")
    caller.call_async(request).add_done_callback(lambda future: answers.append(future.result()))

    def answered() -> bool:
        send()
        return bool(answers)

    wait_for(answered, "the answer")
    assert answers[0].success, answers[0].message
    while_loading = len(features)
    assert while_loading > 3, "the old engine worked on while the new one was loaded"
    wait_for(lambda: len(infos) >= 2, "the new model_info")
    after = infos[-1]
    assert after.engine_sha256 == answers[0].engine_sha256 != before.engine_sha256
    send()
    wait_for(lambda: features[-1].header.stamp.nanosec == sent, "the last frame")
    assert features[-1].space_id == after.space_id == answers[0].space_id
    spaces = [message.space_id for message in features]
    first_new = spaces.index(after.space_id)
    assert set(spaces[:first_new]) == {before.space_id} and set(spaces[first_new:]) == {after.space_id}
    report = wait_for(
        lambda: next((h for h in reversed(health) if h.received == sent and h.pending == 0), None), "the last report"
    )
    assert report.received == report.published + sum(drop.count for drop in report.dropped)
    assert report.published == len(features)


@pytest.mark.parametrize(
    ("request_fields", "sentence"),
    [
        ({}, "allow_other_space"),
        ({"checkpoint": "/no/such/script.yaml", "allow_other_space": True}, "/no/such/script.yaml"),
        ({"runtime": "caffe"}, "pytorch_fp16"),
        ({"precision": "fp8"}, "'int8'"),
        ({"engine": "secondary"}, "primary"),
        ({"model": "resnet1"}, "resnet1"),
    ],
    ids=["other space", "missing file", "unknown runtime", "unknown precision", "unknown engine", "unknown model"],
)
def test_engine_that_cannot_take_over_leaves_the_present_one(
    client: Client, launcher: NodeLauncher, folder: Path, request_fields: dict[str, Any], sentence: str
) -> None:
    node = launcher.start(*fake_parameters(folder, "latency_ms: 1.0"))
    features, infos, diagnostics = client.features(), client.model_info(), client.diagnostics()
    client.bring_up()
    before = wait_for(lambda: infos and infos[-1], "model_info")
    other = request_fields or {"checkpoint": _script(folder, "seed: 3")}
    answer = _load(client, **other)
    assert not answer.success
    assert sentence in answer.message and "the present engine stays" in answer.message
    is_known = "engine" not in request_fields
    assert (answer.space_id, answer.engine_sha256) == (
        (before.space_id, before.engine_sha256) if is_known else ("", "")
    )
    client.image_publisher().publish(image_message(_PIXELS, "rgb8", 5))
    wait_for(features.__len__, "a frame of the present engine")
    assert features[-1].space_id == before.space_id
    if is_known:
        wait_for(lambda: any(_history(array) for array in diagnostics), "the history in the diagnostics")
    assert "load_engine" in node.log


def _history(array: Any) -> str:
    for status in array.status:
        if status.name == "/inference_node: engine":
            return next((item.value for item in status.values if item.key == "swap_1"), "")
    return ""


def test_unconfigured_node_refuses_to_load(client: Client, launcher: NodeLauncher, folder: Path) -> None:
    launcher.start(*fake_parameters(folder, "latency_ms: 1.0"))
    answer = _load(client, checkpoint=_script(folder, "seed: 3"))
    assert not answer.success and "configure" in answer.message


def test_cleanup_while_loading_ends_in_a_refusal_and_leaves_nothing(
    client: Client, launcher: NodeLauncher, folder: Path
) -> None:
    launcher.start(*fake_parameters(folder, "latency_ms: 1.0"))
    client.bring_up()
    caller = client.node.create_client(services.LoadEngine, _SERVICE)
    assert caller.wait_for_service(30.0)
    path = _script(folder, "load_latency_ms: 2000")
    future = caller.call_async(services.LoadEngine.Request(checkpoint=path, allow_other_space=True))
    assert client.change_state("deactivate") and client.change_state("cleanup")
    wait_for(future.done, "the answer")
    assert not future.result().success
    assert "cleaned up" in future.result().message or "configure" in future.result().message
    client.bring_up()
    assert client.state() == "active"
