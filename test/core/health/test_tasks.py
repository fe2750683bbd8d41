import re
from dataclasses import replace

import pytest

from gps_denied_inference.core.architectures import default_registry
from gps_denied_inference.core.contracts import (
    DropReason,
    EffectiveConfiguration,
    PrecisionMode,
    RuntimeLabel,
    ThermalState,
)
from gps_denied_inference.core.governor import LadderState
from gps_denied_inference.core.health import (
    InputAnomaly,
    InputLimits,
    InputPace,
    InputReading,
    Level,
    MemoryLimits,
    MemoryReading,
    TaskStatus,
    ThermalLimits,
    ThermalReading,
    degradation_status,
    engine_status,
    inference_status,
    input_status,
    memory_status,
    node_status,
    thermal_status,
    worst_of,
)
from gps_denied_inference.core.pipeline import FrameCounts, LatencySummary, ModelIdentity

_LATENCY = LatencySummary(10, 10.0, 5.0, 6.0, 7.0)
_NONE = dict.fromkeys(InputAnomaly, 0)
_PACE = InputPace(10.0, 1.0, _NONE, _NONE)
_READING = InputReading("/ns/image", 5, 0.1, 12.0, "rgb8", "640x480", 0, "", 1, _PACE)
_LIMITS = InputLimits(timeout_s=2.0)
_MEMORY = MemoryReading(100 * 2**20, 0, None, 0.4, 1.0, 300.0)


def _counts(published: int = 0, **dropped: int) -> FrameCounts:
    by_reason = {reason: dropped.get(reason.value, 0) for reason in DropReason}
    return FrameCounts(published + sum(by_reason.values()), published, by_reason, 0)


def _model(fallback_reason: str = "", is_gated: bool = True) -> ModelIdentity:
    configuration = EffectiveConfiguration(
        PrecisionMode.FP16, PrecisionMode.FP16, "cuda:0", "cuda:0", "torch", fallback_reason
    )
    spec = default_registry().lookup("xfeat").spec
    return ModelIdentity("primary", "xfeat", "ab" * 32, spec, RuntimeLabel.PYTORCH_FP16, configuration, is_gated)


def test_gated_engine_as_requested_is_ok() -> None:
    status = engine_status(_model(), "active", "")
    assert status.level is Level.OK
    assert status.values["space_id"] == _model().space_id


@pytest.mark.parametrize(
    ("model", "word"), [(_model(is_gated=False), "allow_ungated"), (_model(fallback_reason="no GPU"), "no GPU")]
)
def test_ungated_engine_or_fallback_is_a_warning(model: ModelIdentity, word: str) -> None:
    status = engine_status(model, "active", "")
    assert status.level is Level.WARN
    assert word in status.message


def test_failed_configure_is_an_error_with_its_reason() -> None:
    status = engine_status(None, "unconfigured", "no such checkpoint")
    assert (status.level, status.message) == (Level.ERROR, "no such checkpoint")
    assert engine_status(None, "unconfigured", "").level is Level.OK


@pytest.mark.parametrize(
    ("recent", "level"),
    [
        (_counts(published=5), Level.OK),
        (_counts(published=5, overwritten=9), Level.OK),
        (_counts(published=5, stale=1), Level.WARN),
        (_counts(published=5, undecodable=1), Level.WARN),
        (_counts(undecodable=1), Level.ERROR),
        (_counts(published=5, not_finite=1), Level.ERROR),
        (_counts(published=5, failed=1), Level.ERROR),
    ],
)
def test_recent_drops_decide_the_level(recent: FrameCounts, level: Level) -> None:
    counts = _counts(published=100, failed=3)
    status = inference_status(counts, recent, _LATENCY, "why", 400.0, window=recent, overload_warn_share=1.0)
    assert status.level is level


@pytest.mark.parametrize(
    ("window", "level"),
    [
        (_counts(published=20), Level.OK),
        (_counts(published=19, overwritten=1), Level.OK),
        (_counts(published=1, overwritten=1), Level.OK),  # too few to tell a burst from overload
        (_counts(published=18, overwritten=2), Level.OK),
        (_counts(published=17, overwritten=3), Level.WARN),
        (_counts(published=20, rate_limited=40), Level.OK),  # the ladder's own doing
    ],
)
def test_many_overwritten_frames_are_an_overload(window: FrameCounts, level: Level) -> None:
    status = inference_status(window, _counts(published=9), _LATENCY, "", 400.0, window=window, overload_warn_share=0.1)
    assert status.level is level
    assert ("lower the camera's rate" in status.message) == (level is Level.WARN)


@pytest.mark.parametrize(("in_window", "level"), [(10, Level.WARN), (0, Level.ERROR)])
def test_network_that_does_not_return_is_never_ok(in_window: int, level: Level) -> None:
    latency = LatencySummary(in_window, 1.0, 5.0, 6.0, 7.0)
    recent = _counts(overwritten=9)
    status = inference_status(
        _counts(published=100), recent, latency, "", 400.0, window=recent, overload_warn_share=1.0
    )
    assert status.level is level
    assert "does not return" in status.message


def test_unknown_temperature_is_never_ok() -> None:
    unknown = ThermalReading(ThermalState(cause="nothing to read"))
    assert thermal_status(unknown, ThermalLimits(Level.OK)).level is Level.WARN
    assert thermal_status(unknown, ThermalLimits(Level.ERROR)).level is Level.ERROR
    assert "nothing to read" in thermal_status(unknown, ThermalLimits()).message


def test_throttling_is_a_warning_with_its_cause() -> None:
    hot = ThermalState(90.0, 92.0, True, 400.0, 1, True, "software slowdown", "nvml")
    assert thermal_status(ThermalReading(hot), ThermalLimits()).level is Level.WARN
    assert "software slowdown" in thermal_status(ThermalReading(hot), ThermalLimits()).message
    cool = replace(hot, thermal_throttle_active=False)
    assert thermal_status(ThermalReading(cool), ThermalLimits()).level is Level.OK


@pytest.mark.parametrize(("stuck_after_s", "level"), [(60.0, Level.WARN), (61.0, Level.OK), (0.0, Level.OK)])
def test_readings_that_stand_still_are_a_warning(stuck_after_s: float, level: Level) -> None:
    cool = ThermalState(50.0, 52.0, False, 400.0, 1, True, "", "sysfs")
    reading = ThermalReading(cool, "sysfs: the only one", unchanged_s=60.0)
    status = thermal_status(reading, ThermalLimits(stuck_after_s=stuck_after_s))
    assert status.level is level
    assert status.values["source_choice"] == "sysfs: the only one"


@pytest.mark.parametrize(
    ("reading", "is_active", "level"),
    [
        (_READING, True, Level.OK),
        (replace(_READING, seconds_since_last=2.1), True, Level.WARN),
        (replace(_READING, seconds_since_last=2.1), False, Level.OK),
        (replace(_READING, received=0, seconds_since_last=None), True, Level.WARN),
        (replace(_READING, received=0, seconds_since_last=None), False, Level.OK),
        (replace(_READING, received=0, qos_incompatibility="policy RELIABILITY"), False, Level.ERROR),
    ],
)
def test_missing_images_are_a_warning_only_while_active(reading: InputReading, is_active: bool, level: Level) -> None:
    assert input_status(reading, is_active, _LIMITS).level is level


def test_worst_status_leads_and_ok_ones_are_silent() -> None:
    statuses = [
        TaskStatus("a", Level.OK, "fine"),
        TaskStatus("b", Level.WARN, "warm"),
        TaskStatus("c", Level.ERROR, "broken"),
    ]
    assert worst_of(statuses) == (Level.ERROR, "c: broken; b: warm")
    assert worst_of(statuses[:1]) == (Level.OK, "")


def test_node_without_a_ladder_and_on_the_normal_rung_is_ok() -> None:
    assert degradation_status(LadderState()).level is Level.OK
    status = degradation_status(LadderState(rung_count=3, name="full", top_name="full", steps=4))
    assert status.level is Level.OK and "'full'" in status.message and status.values["steps"] == "4"


def test_lower_rung_warns_with_the_reason_and_what_to_do() -> None:
    state = LadderState(
        rung=2,
        rung_count=3,
        name="half the rate",
        summary="max_rate_hz 5",
        top_name="full",
        reason="throttling (gpu-throttle-alert)",
        steps=2,
        rung_s=12.0,
        to_step_up_s=30.0,
    )
    status = degradation_status(state)
    assert status.level is Level.WARN
    for words in (
        "rung 2 of 2",
        "'half the rate'",
        "max_rate_hz 5",
        "gpu-throttle-alert",
        "cool the computer",
        "'full'",
    ):
        assert words in status.message
    assert status.values["seconds_to_step_up"] == "30.0"
    failed = degradation_status(replace(state, error="the network did not return within 5 s"))
    assert failed.level is Level.WARN and "did not return" in failed.message


@pytest.mark.parametrize("anomaly", InputAnomaly)
def test_what_a_camera_should_not_do_is_a_warning_while_it_is_recent(anomaly: InputAnomaly) -> None:
    met = {**_NONE, anomaly: 2}
    reading = replace(_READING, pace=replace(_PACE, recent=met, total=met))
    status = input_status(reading, True, _LIMITS)
    assert status.level is Level.WARN and status.message.startswith("2 of the last images")
    assert status.values[anomaly.value] == "2"
    over = input_status(replace(reading, pace=replace(_PACE, total=met)), True, _LIMITS)
    assert over.level is Level.OK and over.values[anomaly.value] == "2"


def test_slow_or_jittering_images_are_a_warning_beyond_their_limits() -> None:
    assert input_status(_READING, True, InputLimits(2.0, min_rate_hz=10.0, max_jitter_ms=1.0)).level is Level.OK
    slow = input_status(_READING, True, InputLimits(2.0, min_rate_hz=10.5))
    assert slow.level is Level.WARN and "input_min_rate_hz = 10.5" in slow.message
    uneven = input_status(_READING, True, InputLimits(2.0, max_jitter_ms=0.5))
    assert uneven.level is Level.WARN and "input_max_jitter_ms = 0.5" in uneven.message
    assert input_status(_READING, False, InputLimits(2.0, 10.5, 0.5)).level is Level.OK


def test_missing_large_images_are_blamed_on_the_transport_only_where_it_is_to_blame() -> None:
    pace = replace(_PACE, missing=72, received=18)
    lossy = replace(_READING, pace=pace, is_larger_than_transport=True)
    status = input_status(lossy, True, _LIMITS)
    assert status.level is Level.WARN
    assert "fast_dds_large_images.xml in the camera driver's process" in status.message
    assert input_status(replace(lossy, is_larger_than_transport=False), True, _LIMITS).level is Level.OK
    assert input_status(replace(lossy, pace=replace(pace, missing=1)), True, _LIMITS).level is Level.OK
    assert input_status(lossy, False, _LIMITS).level is Level.OK


def test_memory_warns_by_share_and_by_growth() -> None:
    limits = MemoryLimits(max_slope_mib_per_h=100.0, warn_share=0.8, error_share=0.9)
    assert memory_status(_MEMORY, limits).level is Level.OK
    assert memory_status(replace(_MEMORY, used_share=0.85), limits).level is Level.WARN
    assert memory_status(replace(_MEMORY, used_share=0.95), limits).level is Level.ERROR
    growing = replace(_MEMORY, slope_mib_per_h=101.0)
    assert memory_status(growing, limits).level is Level.WARN
    assert memory_status(growing, replace(limits, max_slope_mib_per_h=0.0)).level is Level.OK
    unknown = replace(_MEMORY, slope_mib_per_h=float("nan"), used_share=float("nan"))
    assert memory_status(unknown, limits).level is Level.OK
    assert memory_status(unknown, limits).values["gpu_used_mib"] == "unknown"


def _bad_statuses() -> list[TaskStatus]:
    """One status of every way to be not OK."""
    cold = ThermalReading(ThermalState(is_telemetry_available=True))
    hot = ThermalReading(ThermalState(is_telemetry_available=True, thermal_throttle_active=True, cause="heat"))
    images = [
        replace(_READING, received=0, seconds_since_last=None),
        replace(_READING, received=0, qos_incompatibility="policy RELIABILITY, 1 times"),
        replace(_READING, seconds_since_last=9.0),
        *(replace(_READING, pace=replace(_PACE, recent={**_NONE, anomaly: 1})) for anomaly in InputAnomaly),
    ]
    nothing = LatencySummary(0, float("nan"), float("nan"), float("nan"), float("nan"))
    drops = [_counts(published=5, **{name: 1}) for name in ("failed", "not_finite", "undecodable", "stale")]
    quiet = _counts(published=9)
    return [
        engine_status(_model(is_gated=False), "active", ""),
        engine_status(_model(fallback_reason="no GPU"), "active", ""),
        *(input_status(reading, True, _LIMITS) for reading in images),
        input_status(_READING, True, InputLimits(2.0, min_rate_hz=99.0)),
        input_status(_READING, True, InputLimits(2.0, max_jitter_ms=0.1)),
        *(inference_status(d, d, _LATENCY, "boom", 400.0, window=quiet, overload_warn_share=0.2) for d in drops),
        inference_status(quiet, _counts(overwritten=2), nothing, "", 400.0, window=quiet, overload_warn_share=0.2),
        inference_status(
            quiet, quiet, _LATENCY, "", 400.0, window=_counts(published=5, overwritten=9), overload_warn_share=0.2
        ),
        node_status("/ns/inference_node", 2),
        memory_status(replace(_MEMORY, used_share=0.95), MemoryLimits()),
        memory_status(replace(_MEMORY, used_share=0.99), MemoryLimits()),
        memory_status(replace(_MEMORY, slope_mib_per_h=1e6), MemoryLimits()),
        thermal_status(ThermalReading(ThermalState(cause="no sensor")), ThermalLimits()),
        thermal_status(hot, ThermalLimits()),
        thermal_status(replace(cold, unchanged_s=1e4), ThermalLimits()),
    ]


_DO = "set|check|give|cool|fix|end|cleanup|configure|synchronise|lower|restart|load|build|wait|prepare|pass|raise|use"


@pytest.mark.parametrize("status", _bad_statuses(), ids=lambda status: status.message[:40])
def test_every_complaint_says_what_to_do(status: TaskStatus) -> None:
    assert status.level is not Level.OK
    assert re.search(rf"[;:] ({_DO})\b", status.message), status.message


def test_a_node_of_the_same_name_is_an_error() -> None:
    assert node_status("/a/inference_node", 1).level is node_status("/a/inference_node", 0).level is Level.OK
    twin = node_status("/a/inference_node", 2)
    assert twin.level is Level.ERROR and "2 nodes are named /a/inference_node" in twin.message
