import math

import pytest

from gps_denied_inference.core.contracts import StageTimings
from gps_denied_inference.core.pipeline import LatencyWindow


class Clock:
    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def _timings(total_ms: float, infer_ms: float = 1.0) -> StageTimings:
    return StageTimings(0.0, 0.0, 0.0, infer_ms, 0.0, total_ms)


def test_empty_window_says_nan() -> None:
    summary = LatencyWindow(clock=Clock()).summary()
    assert summary.count == 0
    assert all(math.isnan(value) for value in (summary.rate_hz, summary.p50_ms, summary.p95_ms, summary.p99_ms))


def test_percentiles_and_rate_of_a_known_series() -> None:
    clock = Clock()
    window = LatencyWindow(10.0, clock)
    for index in range(101):
        clock.now_ns = index * 100_000_000
        window.add(_timings(float(index)))
    summary = window.summary()
    assert (summary.p50_ms, summary.p95_ms, summary.p99_ms) == (50.0, 95.0, 99.0)
    assert summary.rate_hz == pytest.approx(10.1)


def test_old_frames_leave_the_window() -> None:
    clock = Clock()
    window = LatencyWindow(1.0, clock)
    window.add(_timings(5.0))
    clock.now_ns = 2_000_000_000
    window.add(_timings(7.0))
    assert window.summary().count == 1
    assert window.summary().p50_ms == 7.0


def test_each_stage_has_its_percentiles_and_its_worst() -> None:
    window = LatencyWindow(10.0, Clock())
    for index in range(101):
        window.add(_timings(200.0, float(index)))
    summary = window.summary()
    assert summary.stages["infer_ms"] == (50.0, 95.0, 99.0, 100.0)
    assert summary.stages["decode_ms"] == (0.0, 0.0, 0.0, 0.0)
    assert summary.max_ms == 200.0 and "total_ms" not in summary.stages


def test_recent_percentile_forgets_after_two_seconds_what_the_window_remembers() -> None:
    clock = Clock()
    window = LatencyWindow(10.0, clock)
    for index in range(101):
        window.add(_timings(float(index)))
    assert window.summary().recent_p95_ms == 95.0
    clock.now_ns = 2_100_000_000
    window.add(_timings(7.0))
    assert window.summary().recent_p95_ms == 7.0 and window.summary().max_ms == 100.0
    clock.now_ns = 5_000_000_000
    assert math.isnan(window.summary().recent_p95_ms) and window.summary().count == 102
