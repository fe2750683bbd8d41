"""The degradation ladder over DDS: heat and overload step down, visibly; calm returns to the normal work."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from node_harness import Client, NodeLauncher, image_message, wait_for
from node_parameters import fake_parameters
from rclpy.qos import QoSProfile, ReliabilityPolicy

import gps_denied_inference.msg as messages
import gps_denied_inference.srv as services

_PIXELS = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
_DEEP = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
_EVERY_FRAME = ("input_reliability:=reliable", "input_depth:=100")
_QUICK = ("degradation_dwell_s:=0.5", "degradation_stable_s:=1.0", "diagnostics_rate_hz:=10.0")


def _ladder(folder: Path, *rungs: str) -> str:
    path = folder / "ladder.yaml"
    path.write_text("rungs:\n- name: full\n" + "".join(f"- {rung}\n" for rung in rungs))
    return f"primary.degradation_ladder:={path}"


def _script(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text + "\n")
    return path


def _heat(folder: Path, *steps: str) -> tuple[str, str, str]:
    path = folder / "timeline.yaml"
    path.write_text("steps:\n" + "".join(f"- {{cpu_temperature_c: 60, {step}}}\n" for step in steps))
    return "thermal_sources:=['scripted']", f"thermal_timeline:={path}", "thermal_poll_hz:=10.0"


def _status(diagnostics: list[Any]) -> Any:
    name = "/inference_node: degradation"
    return next((s for array in reversed(diagnostics) for s in array.status if s.name == name), None)


class _Camera:
    """Sends frames at a rate, from the calling thread."""

    def __init__(self, client: Client) -> None:
        self._publisher = client.image_publisher(node_qos=_DEEP)
        self.sent = 0

    def run(self, rate_hz: float, duration_s: float) -> None:
        end = time.monotonic() + duration_s
        due = time.monotonic()
        while due < end:
            self.sent += 1
            self._publisher.publish(image_message(_PIXELS, "rgb8", self.sent))
            due += 1.0 / rate_hz
            time.sleep(max(0.0, due - time.monotonic()))


def _settled(health: list[Any], received: int) -> Any:
    return wait_for(
        lambda: health and health[-1].received == received and health[-1].pending == 0 and health[-1],
        f"{received} frames received and none pending",
    )


def _dropped(report: Any) -> dict[str, int]:
    return {drop.reason: drop.count for drop in report.dropped if drop.count}


def test_heat_steps_down_visibly_and_calm_returns_to_the_normal_work(
    client: Client, launcher: NodeLauncher, tmp_path: Path
) -> None:
    heat = _heat(tmp_path, "at_s: 0", "at_s: 3, throttle: true, cause: gpu-throttle-alert", "at_s: 6")
    ladder = _ladder(tmp_path, "{name: half, max_rate_hz: 10}", "{name: least, max_rate_hz: 2}")
    node = launcher.start(*fake_parameters(tmp_path, "latency_ms: 2.0"), *_EVERY_FRAME, *_QUICK, *heat, ladder)
    health, diagnostics, features = client.health(), client.diagnostics(), client.features()
    thermal = client.collect(messages.ThermalState, "/thermal_state")
    client.bring_up()
    camera = _Camera(client)

    def run_until(condition: Any, what: str) -> Any:
        def step() -> Any:
            camera.run(20.0, 0.2)
            return condition()

        return wait_for(step, what)

    run_until(lambda: thermal and thermal[-1].thermal_throttle_active, "the throttle")
    hot = time.monotonic()
    run_until(lambda: health[-1].rung == 2, "the last rung")
    # Two steps, a dwell of 0.5 s between them; the rest is polling, reporting and a busy machine.
    assert time.monotonic() - hot < 10.0
    report = health[-1]
    assert (report.rung_count, report.rung_name, report.rung_steps) == (3, "least", 2)
    assert "gpu-throttle-alert" in report.rung_reason
    status = wait_for(lambda: (s := _status(diagnostics)) and s.level == DiagnosticStatus.WARN and s, "the WARN")
    assert "rung" in status.message and "gpu-throttle-alert" in status.message and "cool" in status.message
    run_until(lambda: health[-1].rung == 0 and health[-1].rung_steps == 4, "the normal rung")
    wait_for(lambda: _status(diagnostics).level == DiagnosticStatus.OK, "the OK")
    assert "good for" in health[-1].rung_reason
    # Every rung was seen, in order, and every frame is accounted for.
    rungs = [report.rung for report in health if report.rung_count]
    assert [rung for index, rung in enumerate(rungs) if index == 0 or rungs[index - 1] != rung] == [0, 1, 2, 1, 0]
    report = _settled(health, camera.sent)
    dropped = _dropped(report)
    assert dropped["rate_limited"] > 10
    assert report.received == report.published + sum(dropped.values())
    wait_for(lambda: len(features) == report.published, "every published message")
    # The estimator learns of the heat from the very messages that it concerns, and that it is over.
    assert any(message.thermal_throttle_active for message in features)
    assert not features[-1].thermal_throttle_active
    assert node.end() == 0
    assert node.log.count("degradation: down to rung") == 2 and node.log.count("degradation: up to rung") == 2


@pytest.mark.parametrize("factor", [1.5, pytest.param(3.0, marks=pytest.mark.long)])
def test_overload_finds_the_rung_whose_engine_keeps_up(
    client: Client, launcher: NodeLauncher, tmp_path: Path, factor: float
) -> None:
    """At 40 ms between frames, and a work of so many times that, the light engine takes all of them."""
    light = _script(tmp_path, "light", "latency_ms: 2.0")
    ladder = _ladder(tmp_path, f"{{name: light, checkpoint: {light}}}")
    node = launcher.start(
        *fake_parameters(tmp_path, f"latency_ms: {factor * 40.0}"),
        *_EVERY_FRAME,
        "degradation_dwell_s:=0.5",
        "degradation_stable_s:=60.0",
        "diagnostics_rate_hz:=10.0",
        "degradation_allow_other_space:=true",
        ladder,
    )
    health, infos, features = client.health(), client.model_info(), client.features()
    client.bring_up()
    camera = _Camera(client)
    normal = wait_for(lambda: infos and infos[-1], "model_info")

    def is_down() -> bool:
        camera.run(25.0, 0.2)
        return bool(health[-1].rung == 1)

    wait_for(is_down, "the light rung")
    assert "missed the deadline" in health[-1].rung_reason
    first = _settled(health, camera.sent)
    camera.run(25.0, 2.0)
    last = _settled(health, camera.sent)
    # On the light engine hardly a frame is lost: the camera's rate is back.
    assert last.published - first.published > 0.9 * (last.received - first.received)
    assert last.received == last.published + sum(_dropped(last).values())
    # The latched model_info and every message say which engine is in work.
    wait_for(lambda: infos[-1].engine_sha256 != normal.engine_sha256, "the model_info of the light engine")
    assert features[-1].space_id == infos[-1].space_id != normal.space_id
    assert last.rung == 1
    assert node.end() == 0


def test_ladder_that_cannot_be_loaded_is_refused_at_configure(
    client: Client, launcher: NodeLauncher, tmp_path: Path
) -> None:
    light = _script(tmp_path, "light", "latency_ms: 1.0")
    ladder = _ladder(tmp_path, f"{{name: light, checkpoint: {light}}}")
    node = launcher.start(*fake_parameters(tmp_path, "latency_ms: 2.0"), ladder)
    assert not client.change_state("configure")
    assert "degradation_allow_other_space" in node.log
    assert client.set_parameter("degradation_allow_other_space", True) == (True, "")
    refused = {
        "{name: light, checkpoint: /no/such.yaml}": "/no/such.yaml",
        f"{{name: light, model: xfeat, checkpoint: {light}}}": "a network that gives a global_descriptor",
        "{name: light, topk: 3}": "any of top_k, max_rate_hz",
    }
    for rung, words in refused.items():
        _ladder(tmp_path, rung)
        assert not client.change_state("configure")
        assert words in node.log
    # The node lives on, and comes up without the ladder.
    assert client.set_parameter("primary.degradation_ladder", "") == (True, "")
    client.bring_up()
    assert node.end() == 0


def test_deactivation_cleanup_and_load_engine_go_together_with_the_ladder(
    client: Client, launcher: NodeLauncher, tmp_path: Path
) -> None:
    own = _script(tmp_path, "own", "latency_ms: 1.0")
    ladder = _ladder(tmp_path, "{name: slow, max_rate_hz: 5}", f"{{name: own, checkpoint: {own}}}")
    always = _heat(tmp_path, "at_s: 0, throttle: true")
    node = launcher.start(*fake_parameters(tmp_path, "latency_ms: 1.0"), *_QUICK, *always, ladder, *_EVERY_FRAME)
    health, infos = client.health(), client.model_info()
    client.bring_up()
    assert "on the ladder of primary: efficientnet_lite0_grid (fake" in node.log
    wait_for(lambda: health and health[-1].rung == 2, "the last rung")
    # The rung stays while nothing works, and goes on afterwards.
    assert client.change_state("deactivate") and client.change_state("activate")
    wait_for(lambda: health[-1].lifecycle_state == "active", "an active node")
    assert health[-1].rung == 2 and health[-1].rung_steps == 2
    # The same bytes under another name: a new engine of the same space takes the normal rung's place.
    same = _script(tmp_path, "same", "latency_ms: 1.0")
    answer = client.call(
        services.LoadEngine, "/inference_node/load_engine", services.LoadEngine.Request(checkpoint=str(same))
    )
    assert answer.success, answer.message
    assert health[-1].rung == 2
    # One of another space would part the rungs, whatever the request allows.
    other = _script(tmp_path, "other", "latency_ms: 1.5")
    request = services.LoadEngine.Request(checkpoint=str(other), allow_other_space=True)
    answer = client.call(services.LoadEngine, "/inference_node/load_engine", request)
    assert not answer.success and "'own'" in answer.message
    camera = _Camera(client)
    camera.run(10.0, 1.0)
    report = _settled(health, camera.sent)
    assert report.published == camera.sent
    assert client.change_state("deactivate") and client.change_state("cleanup")
    wait_for(lambda: health[-1].lifecycle_state == "unconfigured" and health[-1].rung_count == 0, "no ladder")
    client.bring_up()
    wait_for(lambda: health[-1].rung == 2, "the last rung again")
    assert infos
    assert node.end() == 0


def test_rung_of_another_runtime_is_told_beside_the_one_that_was_asked_for(
    client: Client, launcher: NodeLauncher, tmp_path: Path
) -> None:
    """Under memory pressure, as any use of memory is too much while the limit is 1 %."""
    rung = "{name: real, runtime: pytorch_fp16, model: efficientnet_lite0_grid, precision: fp32, device: cpu}"
    node = launcher.start(
        *fake_parameters(tmp_path, "latency_ms: 2.0"),
        *_QUICK,
        "degradation_memory_share:=0.01",
        "degradation_allow_other_space:=true",
        _ladder(tmp_path, rung),
    )
    health, infos = client.health(), client.model_info()
    client.bring_up()
    wait_for(lambda: infos and infos[-1].runtime != "fake", "the model_info of the rung")
    assert (infos[0].requested_runtime, infos[0].runtime) == ("fake", "fake")
    assert (infos[-1].requested_runtime, infos[-1].runtime) == ("fake", "pytorch_fp16")
    assert infos[-1].requested_provider == infos[-1].provider != ""
    report = wait_for(lambda: health[-1].rung == 1 and health[-1], "the rung in engine_health")
    assert (report.requested_runtime, report.runtime) == ("fake", "pytorch_fp16")
    assert node.end() == 0


def test_rung_of_fewer_keypoints_really_sends_fewer(client: Client, launcher: NodeLauncher, tmp_path: Path) -> None:
    """A real network, under memory pressure: any use of memory is too much while the limit is 1 %."""
    node = launcher.start(
        "primary.model:=xfeat",
        "primary.device:=cpu",
        "primary.precision:=fp32",
        "allow_ungated:=true",
        "degradation_memory_share:=1.0",
        "deadline_ms:=60000.0",
        *_EVERY_FRAME,
        *_QUICK,
        _ladder(tmp_path, "{name: fewer, top_k: 100}"),
    )
    health = client.health()
    features = client.collect(messages.LocalFeatures, "/local_features")
    client.bring_up()
    assert "with 1 engines" in node.log
    publisher = client.image_publisher(node_qos=_DEEP)
    pixels = np.random.default_rng(1).integers(0, 255, (240, 320, 3), np.uint8)
    stamp = 0

    def answer() -> Any:
        nonlocal stamp
        stamp += 1
        publisher.publish(image_message(pixels, "rgb8", stamp))
        return wait_for(lambda: features and features[-1].header.stamp.nanosec == stamp and features[-1], "an answer")

    normal = answer()
    assert normal.count > 100
    assert client.set_parameter("degradation_memory_share", 0.01) == (True, "")
    wait_for(lambda: health[-1].rung == 1, "the rung of fewer keypoints")
    assert "of the memory is in use" in health[-1].rung_reason
    fewer = answer()
    assert fewer.count == 100 and fewer.space_id == normal.space_id
    # The best ones of the same.
    assert np.allclose(fewer.scores, np.asarray(normal.scores)[:100], atol=1e-5)
    assert client.set_parameter("degradation_memory_share", 1.0) == (True, "")
    wait_for(lambda: health[-1].rung == 0, "the normal rung")
    assert answer().count == normal.count
    assert node.end() == 0
