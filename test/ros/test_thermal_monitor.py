"""The thermal monitor as a process: its life, its latched topic, its diagnostics, heat and lost telemetry."""

import ast
import os
import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from node_harness import Client, NodeLauncher, NodeProcess, wait_for

import gps_denied_inference.msg as messages
from gps_denied_inference.ros.qos import LATCHED

_NODE = "/thermal_monitor"
_POLL_HZ = 5.0
_HEAT_S = (1.4, 2.2, 3.0)
"""When each throttle begins, by the timeline. A whole number of polls apart: each meets the same moment between two."""

_COOL_C, _C_PER_S = 40.0, 10.0
"""A straight line: the temperature of a state tells when, by the timeline, it was read."""


def _step(at_s: float, what: str = "") -> str:
    temperature_c = _COOL_C + _C_PER_S * at_s
    return f"  - {{at_s: {at_s:g}, cpu_temperature_c: {temperature_c:g}, gpu_temperature_c: {temperature_c:g}{what}}}\n"


_EPISODE = (
    "steps:\n"
    + _step(0.0)
    + "".join(_step(at_s, ", throttle: true, cause: gpu-throttle-alert") + _step(at_s + 0.4) for at_s in _HEAT_S)
    + "  - {at_s: 4.0, telemetry: false, cause: the sensor bus does not answer}\n"
    + _step(5.0)
)


def _start(launcher: NodeLauncher, folder: Path, timeline: str, *parameters: str, **options: Any) -> NodeProcess:
    path = folder / "timeline.yaml"
    path.write_text(timeline)
    return launcher.start(
        "thermal_sources:=['scripted']",
        f"thermal_timeline:={path}",
        *parameters,
        executable="thermal_monitor_node",
        **options,
    )


def _status(diagnostics: list[Any], name: str) -> Any:
    return next((s for array in reversed(diagnostics) for s in array.status if s.name == name), None)


def _is_last(states: list[Any], cause: str) -> bool:
    """Whether the last state has this cause; without one: whether it is a living reading."""
    return bool(states) and (cause in states[-1].cause if cause else bool(states[-1].is_telemetry_available))


def test_heat_and_lost_telemetry_are_told_while_they_last(
    client: Client, launcher: NodeLauncher, tmp_path: Path
) -> None:
    # The poll as a whole number, as people write it.
    node = _start(launcher, tmp_path, _EPISODE, f"thermal_poll_hz:={_POLL_HZ:.0f}", "diagnostics_rate_hz:=10.0")
    received: list[tuple[float, Any]] = []
    client.node.create_subscription(
        messages.ThermalState,
        "/thermal_state",
        lambda message: received.append((time.monotonic_ns() / 1e9, message)),
        LATCHED,
    )
    diagnostics = client.diagnostics()
    client.bring_up(_NODE)

    def reported(level: bytes, word: str) -> bool:
        status = _status(diagnostics, f"{_NODE}: thermal")
        return status is not None and status.level == level and word in status.message

    wait_for(lambda: reported(DiagnosticStatus.WARN, "gpu-throttle-alert"), "the throttle in the diagnostics")
    wait_for(lambda: reported(DiagnosticStatus.WARN, "sensor bus"), "lost telemetry in the diagnostics")
    wait_for(lambda: reported(DiagnosticStatus.OK, ""), "the recovery in the diagnostics")
    known = [(at_s, state) for at_s, state in received if state.is_telemetry_available]
    flips = [hot for cool, hot in pairwise(known) if hot[1].thermal_throttle_active > cool[1].thermal_throttle_active]
    assert flips and all((hot.cause, hot.source) == ("gpu-throttle-alert", "scripted") for _, hot in flips)
    # All times are of the steady clock that the timeline runs on, in both processes. From the true onset to the message
    # in this one; whoever else works on this machine only ever adds to it, so the best tells what the node does.
    delays_s = []
    for received_s, hot in flips:
        timeline_s = (hot.cpu_temperature_c - _COOL_C) / _C_PER_S
        onset_s = max(at_s for at_s in _HEAT_S if at_s <= timeline_s)
        delays_s.append(received_s - (hot.measured_at_ns / 1e9 - timeline_s + onset_s))
    assert 0.0 <= min(delays_s) < 1 / _POLL_HZ + 0.3, delays_s
    blind = [state for _, state in received if "sensor bus" in state.cause]
    assert blind
    assert not any(state.thermal_throttle_active or state.is_telemetry_available for state in blind)
    assert "throttling begins: gpu-throttle-alert" in node.log
    assert "thermal telemetry is back" in node.log
    assert node.end() == 0


_NVML = """\
import pathlib, time

class NVMLError(Exception):
    pass

def nvmlDeviceGetTemperature(device, sensor):
    while pathlib.Path({hang!r}).exists():
        time.sleep(0.01)
    return 61

def _zero(*arguments):
    return 0

nvmlInit = nvmlShutdown = nvmlDeviceGetHandleByIndex = nvmlDeviceGetCurrentClocksThrottleReasons = _zero
nvmlDeviceGetTemperatureThreshold = nvmlDeviceGetClockInfo = _zero
"""
"""A driver whose library does not return while a file exists."""


def test_source_that_hangs_is_told_and_does_not_hang_the_node(
    client: Client, launcher: NodeLauncher, tmp_path: Path
) -> None:
    hang = tmp_path / "hang"
    (tmp_path / "pynvml.py").write_text(_NVML.format(hang=str(hang)))
    node = launcher.start(
        "thermal_sources:=['nvml']",
        "thermal_poll_hz:=10.0",
        "diagnostics_rate_hz:=10.0",
        executable="thermal_monitor_node",
        environment={"PYTHONPATH": os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))},
    )
    diagnostics = client.diagnostics()
    states = client.collect(messages.ThermalState, "/thermal_state", LATCHED)
    client.bring_up(_NODE)

    def is_told(level: bytes, words: str) -> bool:
        status = _status(diagnostics[-1:], f"{_NODE}: thermal")
        return status is not None and status.level == level and words in status.message

    wait_for(partial(is_told, DiagnosticStatus.OK, "not throttling"), "a reading")
    hang.touch()
    wait_for(partial(is_told, DiagnosticStatus.WARN, "no reading for"), "the hang in the diagnostics")
    wait_for(lambda: "no reading for" in states[-1].cause and not states[-1].is_telemetry_available, "an unknown state")
    # It answers while its source does not: the thread that hangs is left behind, and joins in again later.
    assert client.change_state("deactivate", _NODE)
    assert client.change_state("activate", _NODE)
    hang.unlink()
    wait_for(partial(is_told, DiagnosticStatus.OK, "not throttling"), "a reading again")
    assert node.end() == 0


def test_latched_state_never_outlives_the_node_that_reads_it(
    client: Client, launcher: NodeLauncher, tmp_path: Path
) -> None:
    node = _start(launcher, tmp_path, "steps:\n  - {at_s: 0, cpu_temperature_c: 60}\n", namespace="/uav")
    name = f"/uav{_NODE}"
    diagnostics = client.diagnostics()
    for transitions, cause in (
        (("configure",), "not active"),
        (("activate",), ""),
        (("deactivate",), "not active"),
        (("activate",), ""),
        (("deactivate", "cleanup"), "not configured"),
    ):
        for transition in transitions:
            assert client.change_state(transition, name)
        late = client.collect(messages.ThermalState, "/uav/thermal_state", LATCHED)
        wait_for(partial(_is_last, late, cause), f"the latched state after {transitions}")
        assert not late[-1].thermal_throttle_active
    status = wait_for(partial(_status, diagnostics, f"{name}: thermal"), "its diagnostics, fully qualified")
    assert status.level == DiagnosticStatus.WARN
    assert not client.change_state("activate", name)
    assert node.end() == 0


@pytest.mark.parametrize("poll_hz", ["20.0", "'fast'"])
def test_wrong_parameter_ends_the_process_with_a_sentence(launcher: NodeLauncher, poll_hz: str) -> None:
    node = launcher.start(f"thermal_poll_hz:={poll_hz}", executable="thermal_monitor_node")
    assert node.process.wait(60) != 0
    assert "thermal_poll_hz" in node.log
    assert "0.2 to 10" in node.log


def test_missing_timeline_refuses_at_configure_and_says_so(client: Client, launcher: NodeLauncher) -> None:
    node = launcher.start(
        "thermal_sources:=['scripted']", "thermal_timeline:=/nowhere.yaml", executable="thermal_monitor_node"
    )
    diagnostics = client.diagnostics()
    assert not client.change_state("configure", _NODE)
    wait_for(
        lambda: (
            (status := _status(diagnostics, f"{_NODE}: thermal"))
            and status.level == DiagnosticStatus.ERROR
            and "/nowhere.yaml" in status.message
        ),
        "the refusal in the diagnostics",
    )
    assert node.end() == 0


def test_launch_file_starts_the_executable_that_is_installed() -> None:
    path = Path(__file__).resolve().parents[2] / "launch" / "thermal_monitor.launch.py"
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    (node,) = (call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "LifecycleNode")
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}
    assert ast.literal_eval(keywords["executable"]) == "thermal_monitor_node"
    assert "autostart" not in keywords
