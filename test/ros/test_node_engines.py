"""Several engines in one node: one camera, one decoding, topics, books and faults of their own."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from node_harness import Client, NodeLauncher, image_message, wait_for
from node_parameters import REAL_ENGINE
from rclpy.qos import QoSProfile, ReliabilityPolicy

import gps_denied_inference.msg as messages
import gps_denied_inference.srv as services
from gps_denied_inference.ros.qos import LATCHED

_PIXELS = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
_ALL_FRAMES = ("input_depth:=100", "input_reliability:=reliable")
"""With a publisher of the same depth: what was sent is received, so that the books can be compared with it."""
_DEEP = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)


def _two(folder: Path, first: str, second: str, *parameters: str) -> tuple[str, ...]:
    """Parameters of a node with two scripted engines, `primary` and `features`."""
    given = ["engines:=['primary','features']", "allow_ungated:=true", "diagnostics_rate_hz:=10.0"]
    for name, script in (("primary", first), ("features", second)):
        path = folder / f"{name}.yaml"
        path.write_text(script + "\n")
        given += [f"{name}.runtime:=fake", f"{name}.checkpoint:={path}"]
    return (*given, "features.model:=xfeat", *parameters)


class Reports:
    """What both engines say."""

    def __init__(self, client: Client) -> None:
        self.descriptors = client.features()
        self.features = client.collect(messages.LocalFeatures, "/features/local_features")
        self.health = {"primary": client.health(), "features": client.health("/features")}
        self.infos = {"primary": client.model_info(), "features": client.model_info("/features")}
        self.diagnostics = client.diagnostics()

    def last(self, engine: str) -> Any:
        return self.health[engine][-1]

    def status(self, task: str) -> Any:
        """Return the last one of a task; IndexError before the first has come, which `wait_for` waits out."""
        name = f"/inference_node: {task}"
        return [status for array in self.diagnostics for status in array.status if status.name == name][-1]

    def settled(self, engine: str, sent: int) -> Any:
        """Return the first report that accounts for every frame that was sent."""
        return wait_for(
            lambda: next((h for h in reversed(self.health[engine]) if h.received == sent and h.pending == 0), None),
            f"the books of {engine}",
        )


def _drops(health: Any) -> dict[str, int]:
    return {drop.reason: drop.count for drop in health.dropped if drop.count}


def _swaps(status: Any) -> list[str]:
    return [item.value for item in status.values if item.key.startswith("swap_")]


def _send(client: Client, count: int, period_s: float) -> int:
    publisher = client.image_publisher(node_qos=_DEEP)
    for number in range(1, count + 1):
        publisher.publish(image_message(_PIXELS, "rgb8", number))
        time.sleep(period_s)
    return count


def test_two_engines_answer_the_same_frames_on_topics_of_their_own_with_exact_books(
    client: Client, launcher: NodeLauncher, tmp_path: Path
) -> None:
    limited = "features.max_rate_hz:=5.0"
    node = launcher.start(*_two(tmp_path, "latency_ms: 2.0", "latency_ms: 30.0", limited, *_ALL_FRAMES))
    reports = Reports(client)
    client.bring_up()
    sent = _send(client, 60, 0.02)
    first, second = reports.settled("primary", sent), reports.settled("features", sent)
    for report in (first, second):
        assert report.received == report.published + sum(drop.count for drop in report.dropped)
    assert first.published == len(reports.descriptors)
    assert second.published == len(reports.features)
    assert (first.engine, first.model) == ("primary", "efficientnet_lite0_grid")
    assert (second.engine, second.model) == ("features", "xfeat")
    # 60 frames in more than 1.2 s, of which the second engine may take 5 a second.
    assert _drops(second)["rate_limited"] > 20 and "rate_limited" not in _drops(first)
    stamps = {message.header.stamp.nanosec for message in reports.features}
    assert stamps <= set(range(1, sent + 1)) and stamps & {m.header.stamp.nanosec for m in reports.descriptors}
    infos = {name: wait_for(lambda infos=infos: infos[-1], "a model") for name, infos in reports.infos.items()}  # type: ignore[misc]
    assert {name: info.engine for name, info in infos.items()} == {"primary": "primary", "features": "features"}
    assert infos["primary"].space_id != infos["features"].space_id
    for task in ("engine", "inference", "degradation"):
        assert reports.status(task) and reports.status(f"{task} features")
    assert client.change_state("deactivate") and client.change_state("cleanup")
    wait_for(lambda: reports.last("features").model == "", "an empty report of the second engine")
    client.bring_up()
    assert node.end() == 0


def test_urgent_engine_is_served_first_when_both_are_overloaded(
    client: Client, launcher: NodeLauncher, tmp_path: Path
) -> None:
    slow = "latency_ms: 60.0"
    launcher.start(*_two(tmp_path, slow, slow, "features.priority:=10", *_ALL_FRAMES))
    reports = Reports(client)
    client.bring_up()
    sent = _send(client, 100, 0.02)
    reports.settled("features", sent)
    reports.settled("primary", sent)
    # Nothing is left for the other: whenever a pass ends, a newer frame waits for the urgent one.
    assert len(reports.features) > 3 * max(1, len(reports.descriptors))
    assert client.set_parameter("primary.priority", 20) == (True, "")
    before = len(reports.descriptors), len(reports.features)
    _send(client, 100, 0.02)
    wait_for(lambda: reports.last("primary").received == 2 * sent and not reports.last("primary").pending, "the books")
    assert len(reports.descriptors) - before[0] > 3 * max(1, len(reports.features) - before[1])


def test_engine_that_hangs_leaves_the_other_at_work_and_comes_back(
    client: Client, launcher: NodeLauncher, tmp_path: Path
) -> None:
    hangs = "latency_ms: 1.0\nfaults:\n  - {frame: 60, kind: hang, hang_ms: 6000}"
    node = launcher.start(*_two(tmp_path, hangs, "latency_ms: 1.0", "infer_deadline_ms:=1000.0", *_ALL_FRAMES))
    reports = Reports(client)
    client.bring_up()
    publisher = client.image_publisher(node_qos=_DEEP)
    sent = 0

    def send() -> None:
        nonlocal sent
        sent += 1
        publisher.publish(image_message(_PIXELS, "rgb8", sent))
        time.sleep(0.03)

    def hung() -> bool:
        send()
        return "has not returned" in reports.status("engine").message or bool(reports.last("primary").engine_reloads)

    wait_for(hung, "the hang in the diagnostics")
    assert "has not returned" not in reports.status("engine features").message
    count = len(reports.features)

    def goes_on() -> bool:
        send()
        return len(reports.features) > count + 5

    wait_for(goes_on, "the other engine at work")
    node.wait_for_log("was loaded again and works")
    answered = len(reports.descriptors)

    def is_back() -> bool:
        send()
        return len(reports.descriptors) > answered

    wait_for(is_back, "the engine that hung")
    for engine in ("primary", "features"):
        report = reports.settled(engine, sent)
        assert report.received == report.published + sum(drop.count for drop in report.dropped)
    assert (reports.last("primary").engine_reloads, reports.last("features").engine_reloads) == (1, 0)


def test_second_engine_is_replaced_by_name_and_the_first_stays(
    client: Client, launcher: NodeLauncher, tmp_path: Path
) -> None:
    launcher.start(*_two(tmp_path, "latency_ms: 1.0", "latency_ms: 1.0"))
    reports = Reports(client)
    client.bring_up()
    first, second = (wait_for(lambda name=name: reports.infos[name][-1], "models") for name in reports.infos)  # type: ignore[misc]
    path = tmp_path / "new.yaml"
    path.write_text("{latency_ms: 2.0, seed: 7}\n")

    def load(engine: str) -> Any:
        request = services.LoadEngine.Request(engine=engine, checkpoint=str(path), allow_other_space=True)
        return client.call(services.LoadEngine, "/inference_node/load_engine", request)

    refused = load("middle")
    assert not refused.success and "primary, features" in refused.message
    answer = load("features")
    assert answer.success, answer.message
    assert answer.engine_sha256 != second.engine_sha256
    wait_for(lambda: reports.infos["features"][-1].engine_sha256 == answer.engine_sha256, "the new model_info")
    assert reports.infos["primary"][-1].engine_sha256 == first.engine_sha256
    history = wait_for(lambda: _swaps(reports.status("engine features")), "the history")
    assert "took the place of" in history[0]
    assert not _swaps(reports.status("engine"))


def test_budget_covers_all_engines_and_a_refusal_gives_the_first_one_back(
    client: Client, launcher: NodeLauncher, tmp_path: Path
) -> None:
    # Of the fake runtime the size of the script is what it takes: 16 bytes each.
    node = launcher.start(*_two(tmp_path, "latency_ms: 1.0", "latency_ms: 1.0"), "gpu_memory_budget_bytes:=20")
    late = client.collect(messages.ModelInfo, "/model_info", LATCHED)
    assert not client.change_state("configure")
    assert "features" in node.wait_for_log("configure failed")
    assert "gpu_memory_budget_bytes" in node.log
    assert client.state() == "unconfigured"
    assert client.set_parameter("gpu_memory_budget_bytes", 40) == (True, "")
    client.bring_up()
    wait_for(lambda: late[-1].engine == "primary", "the model of the node that came up after all")
    assert node.end() == 0


@pytest.mark.parametrize("names", ["['Front']", "['a','a']", "['']"])
def test_engine_names_that_cannot_be_topics_end_the_process_in_a_sentence(launcher: NodeLauncher, names: str) -> None:
    node = launcher.start(f"engines:={names}")
    assert node.process.wait(60) == 1
    assert "engines" in node.log and "Traceback" not in node.log


def test_descriptors_and_features_of_real_networks_come_from_one_node(client: Client, launcher: NodeLauncher) -> None:
    # The second engine waits for the first one, however long that takes on a busy machine.
    patient = "max_frame_age_ms:=60000.0"
    features = ("engines:=['primary','features']", "features.model:=xfeat", "features.top_k:=256")
    launcher.start(*REAL_ENGINE, *features, patient)
    reports = Reports(client)
    client.bring_up()
    publisher = client.image_publisher()
    pixels = np.random.default_rng(1).integers(0, 255, (240, 320, 3), np.uint8)
    publisher.publish(image_message(pixels, "bgr8", 5))
    wait_for(lambda: reports.descriptors and reports.features, "both answers", 120.0)
    assert (reports.descriptors[0].dimension, reports.descriptors[0].header.stamp.nanosec) == (448, 5)
    assert 0 < len(reports.features[0].scores) <= 256 and reports.features[0].header.stamp.nanosec == 5
