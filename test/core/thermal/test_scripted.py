"""The scripted timeline."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manual_clock import ManualClock

from gps_denied_inference.core.errors import SettingsError, TelemetryUnavailableError
from gps_denied_inference.core.thermal.scripted import ScriptedSource, TimelineStep, load_timeline

EXAMPLE = Path(__file__).parents[3] / "config" / "thermal_timeline_example.yaml"


def test_shipped_example_plays_heat_throttle_gap_and_recovery() -> None:
    clock = ManualClock()
    source = ScriptedSource.from_file(EXAMPLE, clock=clock)
    assert not source.read().thermal_throttle_active
    clock.advance(30)
    hot = source.read()
    assert hot.thermal_throttle_active
    assert hot.gpu_temperature_c > 90
    assert (hot.cause, hot.measured_clock_mhz) == ("gpu-throttle-alert", 612.0)
    clock.advance(27)
    with pytest.raises(TelemetryUnavailableError, match="sensor bus"):
        source.read()
    clock.advance(13)
    assert not source.read().thermal_throttle_active
    clock.advance(40)
    assert source.read().thermal_throttle_active


def test_temperature_runs_in_a_straight_line_and_flags_jump() -> None:
    clock = ManualClock()
    steps = (TimelineStep(0, 40, 40, 1000), TimelineStep(10, 90, 80, 500, throttle=True))
    source = ScriptedSource(steps, clock=clock)
    source.read()
    clock.advance(5)
    state = source.read()
    assert (state.cpu_temperature_c, state.gpu_temperature_c) == (65.0, 60.0)
    assert (state.measured_clock_mhz, state.thermal_throttle_active) == (1000.0, False)
    clock.advance(500)
    state = source.read()
    assert (state.cpu_temperature_c, state.thermal_throttle_active) == (90.0, True)


@given(
    st.lists(st.floats(-60, 150), min_size=1, max_size=6),
    st.floats(0, 1000),
    st.booleans(),
)
def test_temperature_never_leaves_the_range_of_its_steps(
    temperatures_c: list[float], elapsed_s: float, repeats: bool
) -> None:
    clock = ManualClock()
    steps = [TimelineStep(10.0 * index, value, value) for index, value in enumerate(temperatures_c)]
    source = ScriptedSource(steps, repeat_after_s=10.0 * len(steps) if repeats else None, clock=clock)
    source.read()
    clock.advance(elapsed_s)
    measured_c = source.read().cpu_temperature_c
    assert min(temperatures_c) - 1e-6 <= measured_c <= max(temperatures_c) + 1e-6


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("steps: [", "thermal timeline"),
        ("- at_s: 0", "thermal timeline"),
        ("stages: []", "thermal timeline"),
        ("steps: []", "steps"),
        ("steps: [{cpu_temperature_c: 5}]", r"steps\[0\]"),
        ("steps: [{at_s: 0, temperature: 5}]", r"steps\[0\]"),
        ("steps: [{at_s: zero}]", r"steps\[0\]\.at_s"),
        ("steps: [{at_s: 0, throttle: 1}]", r"steps\[0\]\.throttle"),
        ("steps: [{at_s: 0}, {at_s: 0}]", r"steps\.at_s"),
        ("steps: [{at_s: 1}]", r"steps\.at_s"),
        ("{repeat_after_s: 0, steps: [{at_s: 0}]}", "repeat_after_s"),
        ("{repeat_after_s: .nan, steps: [{at_s: 0}]}", "repeat_after_s"),
    ],
)
def test_malformed_timeline_is_refused_by_field(tmp_path: Path, text: str, field: str) -> None:
    path = tmp_path / "timeline.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=field):
        ScriptedSource.from_file(path)


def test_missing_timeline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.yaml"):
        load_timeline(tmp_path / "absent.yaml")


def test_timeline_may_lie() -> None:
    state = ScriptedSource([TimelineStep(0, math.nan, -256)]).read()
    assert math.isnan(state.cpu_temperature_c)
    assert state.gpu_temperature_c == -256
