"""A network that does not return."""

from pathlib import Path
from typing import Any

import numpy as np
from node_harness import Client, NodeLauncher, image_message, wait_for
from node_parameters import fake_parameters

_PIXELS = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)

_HANGS = "latency_ms: 1.0\nfaults:\n  - {frame: 2, kind: hang, hang_ms: 4000}\n"
"""Frame 2 of each load; the network is warmed without counting."""


_BRISK = ("infer_deadline_ms:=300.0", "diagnostics_rate_hz:=10.0")


def _send_until(publisher: Any, condition: Any, what: str) -> None:
    stamp = iter(range(1, 10**6))

    def send() -> Any:
        publisher.publish(image_message(_PIXELS, "rgb8", next(stamp)))
        return condition()

    wait_for(send, what)


def _ladder(folder: Path, rung: str) -> str:
    path = folder / "ladder.yaml"
    path.write_text(f"rungs:\n- name: full\n- {rung}\n")
    return f"primary.degradation_ladder:={path}"


def test_hung_engine_is_told_loaded_again_and_works_on(client: Client, launcher: NodeLauncher, tmp_path: Path) -> None:
    """Under a ladder, whose normal rung gets the new engine; without one the next test loads it again."""
    # Frames that wait for a hung network, or for a busy machine, are no reason to step down here.
    calm = ("degradation_miss_ratio:=1.0", "degradation_memory_share:=1.0")
    ladder = _ladder(tmp_path, "{name: half the rate, max_rate_hz: 15}")
    node = launcher.start(*fake_parameters(tmp_path, _HANGS), *_BRISK, *calm, ladder)
    health, features = client.health(), client.features()
    client.bring_up()
    publisher = client.image_publisher()
    _send_until(publisher, lambda: len(features) == 2, "two descriptors")
    publisher.publish(image_message(_PIXELS, "rgb8", 10))
    wait_for(lambda: any(report.level == 2 and "has not returned for" in report.message for report in health), "ERROR")
    failed = next(report for report in health if "has not returned for" in report.message)
    assert "being loaded again" in failed.message
    wait_for(lambda: health[-1].engine_reloads == 1, "the reload in engine_health")
    seen = len(features)
    publisher.publish(image_message(_PIXELS, "rgb8", 11))
    wait_for(lambda: len(features) > seen, "a descriptor of the engine that was loaded again")
    wait_for(lambda: health[-1].pending == 0 and health[-1].published == len(features), "the books")
    report = health[-1]
    assert (report.rung, report.rung_count, report.rung_name) == (0, 2, "full")
    failures = {drop.reason: drop.count for drop in report.dropped}
    assert failures["failed"] == 1
    assert report.received == report.published + sum(failures.values())
    assert "loaded again and works" in node.log
    assert node.end() == 0


def test_second_hang_ends_the_process_with_a_status_of_its_own(
    client: Client, launcher: NodeLauncher, tmp_path: Path
) -> None:
    node = launcher.start(*fake_parameters(tmp_path, _HANGS), *_BRISK)
    health = client.health()
    client.bring_up()
    _send_until(client.image_publisher(), lambda: node.process.poll() is not None, "the end of the process")
    assert node.process.returncode == 3
    assert "loaded again once already" in node.log and "supervisor starts it anew" in node.log
    assert any("loaded again once already" in report.message for report in health), "the last report says why"


def test_engine_of_a_lower_rung_that_hangs_ends_the_process_at_once(
    client: Client, launcher: NodeLauncher, tmp_path: Path
) -> None:
    own, timeline = tmp_path / "own.yaml", tmp_path / "timeline.yaml"
    own.write_text(_HANGS)
    timeline.write_text("steps:\n- {at_s: 0, cpu_temperature_c: 90, throttle: true}\n")
    node = launcher.start(
        *fake_parameters(tmp_path, "latency_ms: 1.0"),
        *_BRISK,
        _ladder(tmp_path, f"{{name: own, checkpoint: {own}}}"),
        "degradation_allow_other_space:=true",
        "degradation_dwell_s:=0.5",
        "thermal_sources:=['scripted']",
        f"thermal_timeline:={timeline}",
    )
    health = client.health()
    client.bring_up()
    wait_for(lambda: health[-1].rung_name == "own", "the rung with an engine of its own")
    _send_until(client.image_publisher(), lambda: node.process.poll() is not None, "the end of the process")
    assert node.process.returncode == 3
    assert "it belongs to a lower rung" in node.log and "loaded again once already" not in node.log


def test_hung_engine_does_not_keep_the_node_from_being_deactivated_and_cleaned_up(
    client: Client, launcher: NodeLauncher, tmp_path: Path
) -> None:
    script = "latency_ms: 1.0\nload_latency_ms: 1500\nfaults:\n  - {frame: 0, kind: hang, hang_ms: 3000}\n"
    node = launcher.start(*fake_parameters(tmp_path, script), "infer_deadline_ms:=300.0")
    client.bring_up()
    client.image_publisher().publish(image_message(_PIXELS, "rgb8", 1))
    node.wait_for_log("has not returned for")
    assert client.change_state("deactivate") and client.change_state("cleanup")
    assert client.state() == "unconfigured"
    assert client.change_state("configure")
    assert node.end() == 0
