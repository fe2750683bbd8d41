"""The sysfs source on trees modelled on Orin and Xavier, and on the machine at hand."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
from manual_clock import ManualClock
from sysfs_trees import build_orin, build_xavier, set_value

from gps_denied_inference.core.errors import TelemetryUnavailableError
from gps_denied_inference.core.thermal.sysfs import SysfsSource


def test_orin_at_rest_reports_temperatures_and_gpu_clock_without_throttling(tmp_path: Path) -> None:
    state = SysfsSource(build_orin(tmp_path), clock=ManualClock(7.0)).read()
    assert state.is_telemetry_available
    assert (state.cpu_temperature_c, state.gpu_temperature_c) == (48.125, 46.5)
    assert state.measured_clock_mhz == pytest.approx(306.0)
    assert state.measured_at_ns == 7_000_000_000
    assert not state.thermal_throttle_active
    assert (state.cause, state.source) == ("", "sysfs")


def test_xavier_at_rest_is_not_misled_by_the_constant_pmic_zone(tmp_path: Path) -> None:
    state = SysfsSource(build_xavier(tmp_path)).read()
    assert (state.cpu_temperature_c, state.gpu_temperature_c) == (41.0, 39.0)
    assert state.measured_clock_mhz == pytest.approx(114.75)
    assert not state.thermal_throttle_active


@pytest.mark.parametrize("device", [0, 1, 2, 3])
def test_engaged_clock_limiter_is_throttling_and_named(tmp_path: Path, device: int) -> None:
    root = build_orin(tmp_path)
    set_value(root, f"class/thermal/cooling_device{device}/cur_state", 1)
    state = SysfsSource(root).read()
    assert state.thermal_throttle_active
    kind = (root / f"class/thermal/cooling_device{device}/type").read_text().strip()
    assert f"{kind} 1/3" in state.cause
    assert "306 of at most 1020 MHz" in state.cause


def test_hot_surface_alert_and_a_fast_fan_are_not_throttling(tmp_path: Path) -> None:
    root = build_orin(tmp_path)
    set_value(root, "class/thermal/cooling_device4/cur_state", 1)
    set_value(root, "class/thermal/cooling_device5/cur_state", 3)
    set_value(root, "class/thermal/thermal_zone0/temp", 75000)
    assert not SysfsSource(root).read().thermal_throttle_active


def test_trip_point_bound_to_a_limiter_is_throttling_once_reached(tmp_path: Path) -> None:
    root = build_orin(tmp_path)
    source = SysfsSource(root)
    set_value(root, "class/thermal/thermal_zone0/temp", 98999)
    assert not source.read().thermal_throttle_active
    set_value(root, "class/thermal/thermal_zone0/temp", 99000)
    state = source.read()
    assert state.thermal_throttle_active
    assert "cpu-thermal" in state.cause
    assert "99.0 °C" in state.cause


def test_trip_point_without_visible_bindings_is_taken_at_its_word(tmp_path: Path) -> None:
    root = build_xavier(tmp_path)
    set_value(root, "class/thermal/thermal_zone1/temp", 86500)
    assert SysfsSource(root).read().thermal_throttle_active


def test_disabled_x86_trip_points_are_ignored(tmp_path: Path) -> None:
    set_value(tmp_path, "class/thermal/thermal_zone0/type", "x86_pkg_temp")
    set_value(tmp_path, "class/thermal/thermal_zone0/temp", 61000)
    for index, trip in enumerate((0, -274000)):
        set_value(tmp_path, f"class/thermal/thermal_zone0/trip_point_{index}_type", "passive")
        set_value(tmp_path, f"class/thermal/thermal_zone0/trip_point_{index}_temp", trip)
    with pytest.raises(TelemetryUnavailableError, match="temperatures, but not throttling"):
        SysfsSource(tmp_path).read()
    for attribute, value in (("type", "Processor"), ("cur_state", 0), ("max_state", 10)):
        set_value(tmp_path, f"class/thermal/cooling_device0/{attribute}", value)
    state = SysfsSource(tmp_path).read()
    assert state.is_telemetry_available
    assert state.cpu_temperature_c == 61.0
    assert not state.thermal_throttle_active


def test_temperatures_without_anything_that_tells_throttling_claim_nothing(tmp_path: Path) -> None:
    root = build_orin(tmp_path)
    shutil.rmtree(root / "class/hwmon")
    for trip in (root / "class/thermal/thermal_zone0").glob("trip_point_*"):
        trip.unlink()
    source = SysfsSource(root)
    assert source.read().is_telemetry_available, "the cooling devices still tell"
    for device in (root / "class/thermal").glob("cooling_device[0-3]"):
        shutil.rmtree(device)
    # A fan and an alert remain: neither lowers a clock.
    with pytest.raises(TelemetryUnavailableError, match="no cooling devices"):
        source.read()
    set_value(root, "class/hwmon/hwmon3/name", "soctherm_oc")
    set_value(root, "class/hwmon/hwmon3/oc3_event_cnt", 4)
    state = source.read()
    assert state.is_telemetry_available and not state.thermal_throttle_active


def test_over_current_counts_by_growth_and_not_by_its_history(tmp_path: Path) -> None:
    root = build_orin(tmp_path)
    source = SysfsSource(root)
    assert not source.read().thermal_throttle_active
    set_value(root, "class/hwmon/hwmon3/oc3_event_cnt", 27394)
    state = source.read()
    assert state.thermal_throttle_active
    assert "oc3 (+4)" in state.cause
    assert not source.read().thermal_throttle_active


def test_over_current_alarm_that_does_not_throttle_is_left_out(tmp_path: Path) -> None:
    root = build_orin(tmp_path)
    set_value(root, "class/hwmon/hwmon3/oc2_throt_en", 0)
    source = SysfsSource(root)
    source.read()
    set_value(root, "class/hwmon/hwmon3/oc2_event_cnt", 16)
    assert not source.read().thermal_throttle_active


def test_over_current_counter_that_was_reset_is_no_event(tmp_path: Path) -> None:
    root = build_orin(tmp_path)
    source = SysfsSource(root)
    source.read()
    set_value(root, "class/hwmon/hwmon3/oc3_event_cnt", 0)
    assert not source.read().thermal_throttle_active
    set_value(root, "class/hwmon/hwmon3/oc3_event_cnt", 1)
    assert source.read().thermal_throttle_active


def test_xavier_interrupt_counters_are_over_current_too(tmp_path: Path) -> None:
    root = build_xavier(tmp_path)
    source = SysfsSource(root)
    source.read()
    set_value(root, "class/hwmon/hwmon4/oc1_irq_cnt", 2)
    assert "oc1 (+2)" in source.read().cause


def test_rail_gated_gpu_leaves_its_temperature_unknown(tmp_path: Path) -> None:
    root = build_orin(tmp_path)
    (root / "class/thermal/thermal_zone1/temp").unlink()
    state = SysfsSource(root).read()
    assert state.is_telemetry_available
    assert math.isnan(state.gpu_temperature_c)


def test_implausible_zone_is_left_out_and_named(tmp_path: Path) -> None:
    root = build_orin(tmp_path)
    set_value(root, "class/thermal/thermal_zone1/temp", -256000)
    state = SysfsSource(root).read()
    assert state.is_telemetry_available
    assert math.isnan(state.gpu_temperature_c)
    assert "gpu-thermal: -256 °C" in state.cause
    assert not state.thermal_throttle_active


def test_cpu_clock_stands_in_where_devfreq_knows_no_gpu(tmp_path: Path) -> None:
    root = build_orin(tmp_path)
    for attribute in ("cur_freq", "max_freq"):
        (root / "class/devfreq/17000000.gpu" / attribute).unlink()
    assert SysfsSource(root).read().measured_clock_mhz == pytest.approx(829.6)


@pytest.mark.parametrize("content", ["", "unavailable", "4\x00", "-256000"])
def test_machine_without_a_usable_zone_says_so(tmp_path: Path, content: str) -> None:
    set_value(tmp_path, "class/thermal/thermal_zone0/type", "cpu-thermal")
    set_value(tmp_path, "class/thermal/thermal_zone0/temp", content)
    with pytest.raises(TelemetryUnavailableError, match="zones found: cpu-thermal"):
        SysfsSource(tmp_path).read()


def test_empty_tree_and_absent_tree_say_that_no_zone_was_found(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "absent"):
        with pytest.raises(TelemetryUnavailableError, match="zones found: none"):
            SysfsSource(root).read()


def test_this_machine_either_delivers_a_plausible_reading_or_says_why_not() -> None:
    source = SysfsSource()
    refusal = ""
    try:
        state = source.read()
    except TelemetryUnavailableError as error:
        refusal = str(error)
    if refusal:
        assert "zones found" in refusal or "not throttling" in refusal
        return
    known = [t for t in (state.cpu_temperature_c, state.gpu_temperature_c) if not math.isnan(t)]
    assert known
    assert all(-60 <= temperature_c <= 150 for temperature_c in known)
