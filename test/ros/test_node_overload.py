"""More frames than the network can take: the newest wins, and the books balance exactly."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from node_harness import Client, NodeLauncher, image_message, wait_for
from node_parameters import fake_parameters
from overload_diagnostics import assert_overload_is_over, assert_overload_was_told
from rclpy.qos import QoSProfile, ReliabilityPolicy

from gps_denied_inference.core.interface import stamp_ns_from_message

_PIXELS = np.zeros((48, 64, 3), np.uint8)
_EVERY_FRAME = ("input_reliability:=reliable", "input_depth:=100")
_DEEP = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
"""Together they bring every frame to the node, so that the books can be checked against what was sent."""


def _flood(publisher: Any, frames: int, period_s: float, first_stamp: int = 0) -> None:
    for index in range(frames):
        publisher.publish(image_message(_PIXELS, "rgb8", first_stamp + index))
        time.sleep(period_s)


def _settled(health: list[Any], received: int) -> Any:
    return wait_for(
        lambda: health and health[-1].received == received and health[-1].pending == 0 and health[-1],
        f"{received} frames received and none pending",
    )


def test_at_three_times_overload_every_frame_is_published_or_counted(
    client: Client, launcher: NodeLauncher, tmp_path: Path
) -> None:
    node = launcher.start(*fake_parameters(tmp_path, "latency_ms: 30.0"), *_EVERY_FRAME)
    features, health = client.features(), client.health()
    client.bring_up()
    _flood(client.image_publisher(node_qos=_DEEP), 300, 0.01)
    report = _settled(health, 300)
    dropped = {drop.reason: drop.count for drop in report.dropped}
    assert report.published + sum(dropped.values()) == 300
    assert dropped["overwritten"] > 100
    assert {reason for reason, count in dropped.items() if count} == {"overwritten"}
    wait_for(lambda: len(features) == report.published, "every published message")
    assert sum(drop.count for message in features for drop in message.dropped_since_last) <= dropped["overwritten"]
    # Newest first: no frame that was published had waited for more than one other.
    assert np.percentile([message.timings.wait_ms for message in features], 50) < 60.0
    stamps = [stamp_ns_from_message(message) for message in features]
    assert stamps == sorted(set(stamps))
    assert stamps[-1] == 299
    assert node.end() == 0


def _send_at(publisher: Any, rate_hz: float, seconds: float) -> None:
    due_s = time.monotonic()
    for index in range(round(rate_hz * seconds)):
        publisher.publish(image_message(_PIXELS, "rgb8", index))
        due_s += 1.0 / rate_hz
        time.sleep(max(0.0, due_s - time.monotonic()))


@pytest.mark.parametrize("factor", [1.5, pytest.param(3.0, marks=pytest.mark.long)])
def test_overload_is_told_at_once_and_costs_no_freshness(
    client: Client, launcher: NodeLauncher, tmp_path: Path, factor: float
) -> None:
    node = launcher.start(*fake_parameters(tmp_path, "latency_ms: 100.0"), *_EVERY_FRAME)
    features, health, diagnostics = client.features(), client.health(), client.diagnostics()
    client.bring_up()
    publisher = client.image_publisher(node_qos=_DEEP)
    wait_for(lambda: diagnostics, "a report")
    first = len(diagnostics)
    ratios = []
    for _ in range(3):
        features.clear()
        _send_at(publisher, factor * 10.0, 1.5)
        p95_ms = np.percentile([message.timings.total_ms for message in features], 95)
        ratios.append(float(p95_ms / np.median([message.timings.infer_ms for message in features])))
    # Whoever else works on this machine only ever adds to a window: the best tells what the node does by itself.
    assert min(ratios) < 2.0
    assert_overload_was_told(diagnostics, first)
    _settled(health, 3 * round(factor * 15.0))
    report = health[-1]
    assert report.received == report.published + sum(drop.count for drop in report.dropped)
    assert_overload_is_over(diagnostics, lambda: _send_at(publisher, 5.0, 0.4))
    assert node.end() == 0


def test_frames_older_than_the_limit_are_stale(client: Client, launcher: NodeLauncher, tmp_path: Path) -> None:
    node = launcher.start(*fake_parameters(tmp_path, "latency_ms: 200.0"), "max_frame_age_ms:=50.0", *_EVERY_FRAME)
    health = client.health()
    client.bring_up()
    publisher = client.image_publisher(node_qos=_DEEP)
    publisher.publish(image_message(_PIXELS, "rgb8", 1))
    time.sleep(0.02)
    publisher.publish(image_message(_PIXELS, "rgb8", 2))
    report = _settled(health, 2)
    assert {drop.reason: drop.count for drop in report.dropped if drop.count} == {"stale": 1}
    assert client.set_parameter("max_frame_age_ms", 1000.0) == (True, "")
    count = len(health)
    wait_for(lambda: len(health) > count + 1, "a report after the parameter was set")
    publisher.publish(image_message(_PIXELS, "rgb8", 3))
    time.sleep(0.02)
    publisher.publish(image_message(_PIXELS, "rgb8", 4))
    assert _settled(health, 4).published == 3
    assert node.end() == 0


def test_deactivation_under_load_counts_what_comes_after_as_inactive(
    client: Client, launcher: NodeLauncher, tmp_path: Path
) -> None:
    node = launcher.start(*fake_parameters(tmp_path, "latency_ms: 30.0"), *_EVERY_FRAME)
    features, health = client.features(), client.health()
    client.bring_up()
    publisher = client.image_publisher(node_qos=_DEEP)
    _flood(publisher, 50, 0.01)
    assert client.change_state("deactivate")
    _flood(publisher, 20, 0.005, first_stamp=1000)
    report = _settled(health, 70)
    dropped = {drop.reason: drop.count for drop in report.dropped}
    assert report.published + sum(dropped.values()) == 70
    assert dropped["inactive"] >= 20
    assert client.change_state("activate")
    publisher.publish(image_message(_PIXELS, "rgb8", 2000))
    wait_for(lambda: features and stamp_ns_from_message(features[-1]) == 2000, "the first frame after activation")
    assert all(stamp_ns_from_message(message) < 1000 for message in features[:-1])
    assert node.end() == 0


def test_signal_under_load_ends_the_node_with_status_0(client: Client, launcher: NodeLauncher, tmp_path: Path) -> None:
    node = launcher.start(*fake_parameters(tmp_path, "latency_ms: 30.0"))
    client.bring_up()
    _flood(client.image_publisher(node_qos=_DEEP), 20, 0.01)
    assert node.end() == 0
    assert "Traceback" not in node.log
