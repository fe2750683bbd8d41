import math
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
from gps_denied_inference.core.engines import FidelityReport
from gps_denied_inference.core.governor import LadderState
from gps_denied_inference.core.health import (
    InferenceLimits,
    InferenceReading,
    InputAnomaly,
    InputLimits,
    InputPace,
    InputReading,
    Level,
    MemoryLimits,
    MemoryReading,
    MessageReading,
    TaskStatus,
    ThermalLimits,
    ThermalReading,
    degradation_status,
    engine_status,
    inference_status,
    input_status,
    memory_status,
    message_status,
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
_WORK_LIMITS = InferenceLimits(max_frame_age_ms=400.0, overload_warn_share=1.0, deadline_ms=400.0)
_MEMORY = MemoryReading(100 * 2**20, 0, None, 0.4, 1.0, 300.0)


def _counts(published: int = 0, **dropped: int) -> FrameCounts:
    by_reason = {reason: dropped.get(reason.value, 0) for reason in DropReason}
    return FrameCounts(published + sum(by_reason.values()), published, by_reason, 0)


def _model(fallback_reason: str = "", is_gated: bool = True) -> ModelIdentity:
    configuration = EffectiveConfiguration(
        PrecisionMode.FP16, PrecisionMode.FP32, "cuda:1", "cpu", "torch", fallback_reason, "TheAskedForProvider"
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
    assert status.level is Level.ERROR
    assert status.message == "no such checkpoint; configure again once that is put right"
    assert engine_status(None, "unconfigured", "").level is Level.OK


def test_engine_that_hangs_is_an_error_even_where_a_ladder_still_knows_its_model() -> None:
    for model in (None, _model()):
        status = engine_status(model, "active", "the network has not returned for 5001 ms")
        assert status.level is Level.ERROR
        assert status.message.startswith("the network has not returned for 5001 ms; raise infer_deadline_ms")


def _inference_status(
    window: FrameCounts,
    *,
    counts: FrameCounts | None = None,
    latency: LatencySummary = _LATENCY,
    limits: InferenceLimits = _WORK_LIMITS,
) -> TaskStatus:
    return inference_status(InferenceReading(counts or window, window, latency, "boom"), limits)


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
    status = _inference_status(recent, counts=counts)
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
    status = _inference_status(window, limits=replace(_WORK_LIMITS, overload_warn_share=0.1))
    assert status.level is level
    assert ("lower the camera's rate" in status.message) == (level is Level.WARN)


@pytest.mark.parametrize(("in_window", "level"), [(10, Level.WARN), (0, Level.ERROR)])
def test_network_that_does_not_return_is_never_ok(in_window: int, level: Level) -> None:
    latency = LatencySummary(in_window, 1.0, 5.0, 6.0, 7.0)
    status = _inference_status(_counts(overwritten=9), counts=_counts(published=100), latency=latency)
    assert status.level is level
    assert "does not return" in status.message


@pytest.mark.parametrize(("recent_p95_ms", "level"), [(401.0, Level.WARN), (400.0, Level.OK), (math.nan, Level.OK)])
def test_features_that_come_later_than_the_deadline_are_a_warning(recent_p95_ms: float, level: Level) -> None:
    status = _inference_status(_counts(published=9), latency=replace(_LATENCY, recent_p95_ms=recent_p95_ms))
    assert status.level is level
    assert ("deadline_ms = 400" in status.message) == (level is Level.WARN)


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


def test_camera_that_comes_back_with_another_qos_is_told_once_its_images_are_missed() -> None:
    restarted = replace(
        _READING, seconds_since_last=2.1, qos_incompatibility="policy RELIABILITY", is_incompatible_since_last=True
    )
    status = input_status(restarted, True, _LIMITS)
    assert status.level is Level.ERROR and "set input_reliability" in status.message
    # Another camera on the topic may offer what it likes while the right one sends.
    assert input_status(replace(restarted, seconds_since_last=1.9), True, _LIMITS).level is Level.OK
    # An incompatible one that was seen before the images came is not the reason why they stopped.
    stopped = input_status(replace(restarted, is_incompatible_since_last=False), True, _LIMITS)
    assert stopped.level is Level.WARN and "check the camera" in stopped.message


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
    both = {**met, InputAnomaly.STAMP_BACKWARD: 2, InputAnomaly.SIZE_CHANGED: 2}
    told = input_status(replace(reading, pace=replace(_PACE, recent=both)), True, _LIMITS).message
    assert status.message in told and "stamps go backwards" in told and "the image size changes" in told
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


@pytest.mark.parametrize("seconds_since_last", [None, 9.0])
def test_missing_camera_may_be_one_whose_images_are_lost(seconds_since_last: float | None) -> None:
    silent = replace(_READING, seconds_since_last=seconds_since_last, can_lose_large_images=True)
    message = input_status(silent, True, _LIMITS).message
    assert "check the camera" in message and "load config/fast_dds_large_images.xml" in message
    for reading in (replace(silent, can_lose_large_images=False), replace(silent, publisher_count=0)):
        assert "fast_dds" not in input_status(reading, True, _LIMITS).message


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


def _message_status(reading: MessageReading, window: FrameCounts | None = None) -> TaskStatus:
    return message_status(
        "matching", reading, window=window or _counts(published=9), timeout_s=2.0, overload_warn_share=0.2
    )


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
    drops.append(_counts(undecodable=1))
    quiet = _counts(published=9)
    lossy = replace(_PACE, missing=72, received=18)
    messages = MessageReading("/local_features", 1, 0.1, True, quiet, _LATENCY, "boom")
    ladder = LadderState(rung=1, rung_count=2, name="half", summary="max_rate_hz 5", top_name="full", reason="heat")
    return [
        engine_status(None, "unconfigured", "no such checkpoint"),
        engine_status(None, "active", "the network has not returned for 5001 ms"),
        engine_status(_model(is_gated=False), "active", ""),
        engine_status(_model(fallback_reason="no GPU"), "active", ""),
        *(input_status(reading, True, _LIMITS) for reading in images),
        input_status(_READING, True, InputLimits(2.0, min_rate_hz=99.0)),
        input_status(_READING, True, InputLimits(2.0, max_jitter_ms=0.1)),
        input_status(replace(_READING, pace=lossy, is_larger_than_transport=True), True, _LIMITS),
        *(_inference_status(drop) for drop in drops),
        _inference_status(_counts(overwritten=2), latency=nothing),
        _inference_status(_counts(published=5, overwritten=9), limits=replace(_WORK_LIMITS, overload_warn_share=0.2)),
        _inference_status(quiet, latency=replace(_LATENCY, recent_p95_ms=400.1)),
        inference_status(InferenceReading(quiet, quiet, _LATENCY, "", 0, "policy DURABILITY, 1 times"), _WORK_LIMITS),
        degradation_status(ladder),
        degradation_status(replace(ladder, error="the network did not return within 5 s")),
        *(_message_status(messages, drop) for drop in drops if not drop.dropped[DropReason.UNDECODABLE]),
        _message_status(replace(messages, seconds_since_last=None)),
        _message_status(replace(messages, seconds_since_last=2.1)),
        _message_status(messages, _counts(published=5, overwritten=9)),
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


_STAGES = {
    "wait_ms": (1.0, 2.0, 3.0, 4.0),
    "infer_ms": (5.0, 6.0, 7.0, 8.0),
}
_MEASURED = replace(
    _model(fallback_reason="no GPU", is_gated=False),
    engine_file="xfeat__torch.pt2",
    engine_sha256="cd" * 32,
    gate_complaint="no signature",
    fidelity=FidelityReport("cosine", 0.991, 0.993, 0.9, 2),
)
_TOTAL = {
    InputAnomaly.SIZE_CHANGED: 5,
    InputAnomaly.ENCODING_CHANGED: 6,
    InputAnomaly.STAMP_BACKWARD: 7,
    InputAnomaly.STAMP_IN_FUTURE: 8,
}
_ALL_DROPS = FrameCounts(100, 40, dict(zip(DropReason, range(1, 1 + len(DropReason)), strict=True)), 4)


@pytest.mark.parametrize(
    ("status", "values"),
    [
        (
            engine_status(_MEASURED, "active", "", ("12:00:00 UTC: refused", "12:01:00 UTC: taken"), 3, "onnx", "heat"),
            {
                "state": "active",
                "engine": "primary",
                "model": "xfeat",
                "weights_sha256": "ab" * 32,
                "space_id": _MEASURED.space_id,
                "requested_runtime": "onnx",
                "effective_runtime": "pytorch_fp16",
                "runtime_reason": "heat",
                "requested_provider": "TheAskedForProvider",
                "effective_provider": "torch",
                "requested_precision": "fp16",
                "effective_precision": "fp32",
                "requested_device": "cuda:1",
                "effective_device": "cpu",
                "fallback_reason": "no GPU",
                "engine_file": "xfeat__torch.pt2",
                "engine_sha256": "cd" * 32,
                "gate": "not gated (allow_ungated): no signature",
                "fidelity": "cosine min 0.991000, mean 0.993000, repeatability 0.900, over 2 golden images",
                "reloads_after_hang": "3",
                "swap_1": "12:00:00 UTC: refused",
                "swap_2": "12:01:00 UTC: taken",
            },
        ),
        (
            inference_status(
                InferenceReading(
                    _ALL_DROPS,
                    _counts(published=9),
                    LatencySummary(12, 11.0, 21.0, 22.0, 23.0, 24.0, _STAGES, 25.0),
                    "boom",
                    2,
                    "policy DURABILITY, 1 times",
                ),
                _WORK_LIMITS,
            ),
            {
                "received": "100",
                "published": "40",
                "pending": "4",
                **{f"dropped_{reason.value}": str(number) for number, reason in enumerate(DropReason, start=1)},
                "rate_hz": "11.00",
                "latency_p50_ms": "21.00",
                "latency_p95_ms": "22.00",
                "latency_p99_ms": "23.00",
                "latency_max_ms": "24.00",
                "latency_recent_p95_ms": "25.00",
                "wait_ms": "p50 1.00, p95 2.00, p99 3.00, max 4.00",
                "infer_ms": "p50 5.00, p95 6.00, p99 7.00, max 8.00",
                "engine_reloads": "2",
                "output_qos_incompatibility": "policy DURABILITY, 1 times",
                "last_error": "boom",
            },
        ),
        (
            input_status(
                InputReading(
                    "/ns/image",
                    31,
                    0.25,
                    12.5,
                    "rgb8",
                    "640x480",
                    3,
                    "policy DURABILITY, 1 times",
                    2,
                    InputPace(10.5, 1.25, _NONE, _TOTAL, 9, 18),
                ),
                True,
                _LIMITS,
            ),
            {
                "topic": "/ns/image",
                "publishers": "2",
                "received": "31",
                "rate_hz": "10.50",
                "jitter_ms": "1.25",
                "missing_by_stamps": "9",
                "seconds_since_last": "0.25",
                "stamp_age_ms": "12.5",
                "encoding": "rgb8",
                "size": "640x480",
                "size_changed": "5",
                "encoding_changed": "6",
                "stamp_backward": "7",
                "stamp_in_future": "8",
                "time_jumps_backward": "3",
                "qos_incompatibility": "policy DURABILITY, 1 times",
            },
        ),
        (
            degradation_status(
                LadderState(1, 3, "half", "max_rate_hz 5", "full", "heat", 4, 12.0, 30.0, "did not return")
            ),
            {
                "rung": "1",
                "rungs": "3",
                "name": "half",
                "changes": "max_rate_hz 5",
                "reason": "heat",
                "steps": "4",
                "seconds_on_rung": "12.0",
                "seconds_to_step_up": "30.0",
                "error": "did not return",
            },
        ),
        (
            memory_status(MemoryReading(100 * 2**20, 20 * 2**20, 30 * 2**20, 0.4, 1.5, 300.0), MemoryLimits()),
            {
                "resident_mib": "100.0",
                "gpu_reserved_mib": "20.0",
                "gpu_used_mib": "30.0",
                "used_share": "0.400",
                "slope_mib_per_h": "1.5",
                "watched_s": "300",
            },
        ),
        (
            thermal_status(
                ThermalReading(ThermalState(51.5, 52.5, True, 400.0, 1, True, "heat", "nvml"), "nvml: first", 7.0),
                ThermalLimits(),
            ),
            {
                "is_telemetry_available": "true",
                "source": "nvml",
                "source_choice": "nvml: first",
                "cpu_temperature_c": "51.5",
                "gpu_temperature_c": "52.5",
                "measured_clock_mhz": "400",
                "thermal_throttle_active": "true",
                "cause": "heat",
                "unchanged_s": "7",
            },
        ),
    ],
    ids=lambda item: item.name if isinstance(item, TaskStatus) else "",
)
def test_values_of_a_task_are_those_of_its_reading(status: TaskStatus, values: dict[str, str]) -> None:
    # As a list: the order is that in which an operator reads them.
    assert list(status.values.items()) == list(values.items())


def test_a_node_of_the_same_name_is_an_error() -> None:
    assert node_status("/a/inference_node", 1).level is node_status("/a/inference_node", 0).level is Level.OK
    twin = node_status("/a/inference_node", 2)
    assert twin.level is Level.ERROR and "2 nodes are named /a/inference_node" in twin.message
