"""`gdi top` with a real node."""

import json
import time
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from node_harness import Client, NodeLauncher, image_message, wait_for

from gps_denied_inference.cli.main import main
from gps_denied_inference.cli.top import figures

_PIXELS = np.zeros((48, 64, 3), np.uint8)


def _has(received: list[Any], count: int) -> bool:
    return len(received) >= count


def _shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = main(["top", "--once", *arguments])
    return status, capsys.readouterr().out


def test_node_is_shown_with_its_figures_as_text_and_as_json(
    client: Client,
    launcher: NodeLauncher,
    fake_engine: tuple[str, ...],
    domain_id: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))
    launcher.start(*fake_engine, "diagnostics_rate_hz:=5.0", namespace="/left")
    features, health = client.features("/left"), client.health("/left")
    client.bring_up("/left/inference_node")
    publisher = client.image_publisher("/left/image")
    for stamp in range(1, 4):
        publisher.publish(image_message(_PIXELS, "rgb8", stamp))
        wait_for(partial(_has, features, stamp), "a descriptor")
    wait_for(lambda: health and health[-1].published == 3, "a report")
    status, out = _shown(capsys, "--json", "--namespace", "left")
    (node,) = json.loads(out)["nodes"]
    assert status == 0 and node["namespace"] == "/left" and node["level"] == "WARN"
    assert (node["state"], node["runtime"], node["published"]) == ("active", "fake", 3)
    assert node["latency_ms"]["p50"] >= 5.0 and node["resident_mib"] > 20
    assert node["thermal"]["is_known"] in (True, False)
    status, out = _shown(capsys, "--namespace", "left")
    assert status == 0 and "frames in → out" in out and "allow_ungated" in out


def test_nobody_is_said_and_fails(
    domain_id: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))
    status, out = _shown(capsys, "--namespace", "/nobody", "--wait", "0.5")
    assert status == 1 and "no node is heard" in out


def test_node_that_fell_silent_is_an_error() -> None:
    thermal: Any = SimpleNamespace(
        is_telemetry_available=True,
        cpu_temperature_c=51.0,
        gpu_temperature_c=float("nan"),
        measured_clock_mhz=1000.0,
        thermal_throttle_active=True,
        cause="heat",
    )
    now_s = time.monotonic()
    sighting = SimpleNamespace(namespace="/", health=None, thermal=thermal, heard_s=now_s)
    known = figures(sighting, now_s + 1.0)
    assert known["level"] == "OK" and known["thermal"]["gpu_temperature_c"] is None
    assert known["thermal"]["is_throttling"] and known["thermal"]["cause"] == "heat"
    silent = figures(sighting, now_s + 6.0)
    assert silent["level"] == "ERROR" and "nothing heard for 6 s" in silent["message"]
