"""`gdi top` with a real node."""

import io
import json
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from node_harness import Client, NodeLauncher, image_message, wait_for
from rich.console import Console

import gps_denied_inference.msg as messages
from gps_denied_inference.cli.main import main
from gps_denied_inference.cli.top import _live, figures
from gps_denied_inference.ros.health_watch import NodeSighting

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
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))
    timeline = tmp_path / "heat.yaml"
    timeline.write_text(
        "steps:\n  - {at_s: 0, cpu_temperature_c: 91.5, gpu_temperature_c: 92.5, clock_mhz: 612, throttle: true, "
        "cause: gpu-throttle-alert}\n"
    )
    heat = ("thermal_sources:=['scripted']", f"thermal_timeline:={timeline}")
    launcher.start(*fake_engine, *heat, "diagnostics_rate_hz:=5.0", namespace="/left")
    features, health = client.features("/left"), client.health("/left")
    client.bring_up("/left/inference_node")
    publisher = client.image_publisher("/left/image")
    publisher.publish(image_message(_PIXELS, "of_no_camera", 0))
    # The subscription keeps the last image only: this one must have been taken before the next one comes.
    wait_for(lambda: health and health[-1].received == 1, "the image that cannot be decoded")
    for stamp in range(1, 4):
        publisher.publish(image_message(_PIXELS, "rgb8", stamp))
        wait_for(partial(_has, features, stamp), "a descriptor")
    wait_for(
        lambda: health and (health[-1].received, health[-1].published, health[-1].pending) == (4, 3, 0), "a report"
    )
    status, out = _shown(capsys, "--json", "--namespace", "left")
    (node,) = json.loads(out)["nodes"]
    assert status == 0 and node["namespace"] == "/left" and node["level"] == "WARN"
    assert (node["state"], node["runtime"], node["published"]) == ("active", "fake", 3)
    assert node["latency_ms"]["p50"] >= 5.0 and node["resident_mib"] > 20
    assert (node["thermal"]["is_known"], node["thermal"]["is_throttling"]) == (True, True)
    assert (node["thermal"]["cpu_temperature_c"], node["thermal"]["clock_mhz"]) == (91.5, 612.0)
    assert node["dropped"] == {"undecodable": 1}
    status, out = _shown(capsys, "--namespace", "left")
    assert status == 0 and "allow_ungated" in out
    rows = _rows(out)
    assert rows["frames in → out"] == "4 → 3" and rows["dropped"] == "undecodable 1"
    assert rows["temperature"] == "CPU 91.5 °C, GPU 92.5 °C, 612.0 MHz, THROTTLING: gpu-throttle-alert"


def _rows(out: str) -> dict[str, str]:
    """Return the shown table, label to text."""
    return {
        label.strip(): text.strip() for label, _, text in (line.strip().partition("  ") for line in out.splitlines())
    }


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
    sighting = NodeSighting("/", thermal=thermal, health_heard_s=now_s, thermal_heard_s=now_s)
    known = figures(sighting, now_s + 1.0)
    assert known["level"] == "OK" and known["thermal"]["gpu_temperature_c"] is None
    assert known["thermal"]["is_throttling"] and known["thermal"]["cause"] == "heat"
    silent = figures(sighting, now_s + 6.0)
    assert silent["level"] == "ERROR" and "nothing heard for 6 s" in silent["message"]


def test_thermal_monitor_does_not_speak_for_an_inference_node_that_died() -> None:
    now_s = time.monotonic()
    thermal = messages.ThermalState(is_telemetry_available=True, cpu_temperature_c=51.0)
    health = messages.EngineHealth(lifecycle_state="active")
    dead = NodeSighting("/", health, thermal, health_heard_s=now_s - 6.0, thermal_heard_s=now_s)
    known = figures(dead, now_s)
    assert known["level"] == "ERROR" and "nothing heard for 6 s" in known["message"]
    assert known["thermal"]["is_known"]
    # Nor the other way round.
    cold = NodeSighting("/", health, thermal, health_heard_s=now_s, thermal_heard_s=now_s - 6.0)
    known = figures(cold, now_s)
    assert known["level"] == "OK"
    assert (known["thermal"]["is_known"], known["thermal"]["cause"]) == (False, "nothing heard for 6 s")


def test_live_view_shows_each_namespace_in_a_panel_and_the_empty_domain_as_such() -> None:
    now_s = time.monotonic()
    sightings = [NodeSighting("/left", messages.EngineHealth(level=1, message="warm"), None, now_s, now_s)]

    class Watch:
        """Nobody at first, then a node, then Ctrl-C."""

        looks: ClassVar[list[list[NodeSighting]]] = [[], sightings]

        def spin(self, period_s: float) -> list[NodeSighting]:
            if not self.looks:
                raise KeyboardInterrupt
            return self.looks.pop(0)

    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, color_system=None)
    with pytest.raises(KeyboardInterrupt):
        _live(Watch(), 0.0, console)
    shown = screen.getvalue()
    assert shown.index("no node is heard yet") < shown.index("/left") < shown.index("WARN warm")
