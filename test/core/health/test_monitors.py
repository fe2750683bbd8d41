import math
import mmap
import os

import numpy as np
import pytest

from gps_denied_inference.core.health import InputAnomaly, InputMonitor, MemoryMonitor, resident_bytes


class Clock:
    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def _note(monitor: InputMonitor, clock: Clock, at_ms: float, stamp_ms: float, **changes: object) -> None:
    clock.now_ns = round(at_ms * 1e6)
    kind = {"encoding": "rgb8", "size": "640x480", "stamp_age_ms": at_ms - stamp_ms, **changes}
    monitor.note(clock.now_ns, round(stamp_ms * 1e6), **kind)  # type: ignore[arg-type]


def test_rate_and_jitter_of_a_known_series() -> None:
    clock = Clock()
    monitor = InputMonitor(clock=clock)
    assert math.isnan(monitor.pace().rate_hz) and math.isnan(monitor.pace().jitter_ms)
    for index in range(41):
        late_ms = 10.0 if index % 4 == 2 else 0.0
        _note(monitor, clock, 100.0 * index + late_ms, 100.0 * index)
    pace = monitor.pace()
    assert pace.rate_hz == pytest.approx(10.0)
    assert pace.jitter_ms == pytest.approx(10.0)
    assert not any(pace.total.values())


def test_images_leave_the_window() -> None:
    clock = Clock()
    monitor = InputMonitor(1.0, clock=clock)
    for at_ms in (0.0, 100.0, 200.0):
        _note(monitor, clock, at_ms, at_ms)
    clock.now_ns = 5 * 10**9
    assert math.isnan(monitor.pace().rate_hz)


@pytest.mark.parametrize(
    ("changes", "anomaly"),
    [
        ({"encoding": "bgr8"}, InputAnomaly.ENCODING_CHANGED),
        ({"size": "320x240"}, InputAnomaly.SIZE_CHANGED),
        ({"stamp_age_ms": -51.0}, InputAnomaly.STAMP_IN_FUTURE),
    ],
)
def test_each_anomaly_is_counted_once_and_forgotten_after_the_window(
    changes: dict[str, object], anomaly: InputAnomaly
) -> None:
    clock = Clock()
    monitor = InputMonitor(1.0, clock=clock)
    _note(monitor, clock, 0.0, 0.0)
    _note(monitor, clock, 100.0, 100.0, **changes)
    assert [kind for kind, count in monitor.pace().recent.items() if count] == [anomaly]
    clock.now_ns = 2 * 10**9
    assert not any(monitor.pace().recent.values())
    assert monitor.pace().total[anomaly] == 1


def test_gaps_between_stamps_tell_how_many_images_are_missing() -> None:
    random = np.random.default_rng(0)
    for came in (range(0, 90, 5), [n for n in range(90) if n < 20 or n % 4 == 0], range(90)):
        clock = Clock()
        monitor = InputMonitor(clock=clock)
        for number in came:
            at_ms = number * 33.3 + random.uniform(-3, 3)
            _note(monitor, clock, at_ms, at_ms)
        pace = monitor.pace()
        assert pace.received == len(came)
        # A camera at a fifth of its rate, evenly, cannot be told from a slow one.
        steady = isinstance(came, range)
        assert pace.missing == (0 if steady else came[-1] + 1 - len(came))


def test_stamps_that_go_back_are_counted_unless_the_clock_itself_went_back() -> None:
    clock = Clock()
    monitor = InputMonitor(clock=clock)
    _note(monitor, clock, 0.0, 500.0, stamp_age_ms=0.0)
    _note(monitor, clock, 100.0, 400.0, stamp_age_ms=0.0)
    assert monitor.pace().total[InputAnomaly.STAMP_BACKWARD] == 1
    monitor.forget_stamp()
    _note(monitor, clock, 200.0, 0.0, stamp_age_ms=0.0)
    assert monitor.pace().total[InputAnomaly.STAMP_BACKWARD] == 1


def test_growth_is_told_after_two_minutes_as_mebibytes_an_hour() -> None:
    clock, size = Clock(), 100 * 2**20
    monitor = MemoryMonitor(resident=lambda: size, used_share=lambda: 0.5, gpu_used=lambda: None, clock=clock)
    for second in range(0, 131, 2):
        clock.now_ns = second * 10**9
        size = 100 * 2**20 + round(second / 3600 * 50 * 2**20)
        reading = monitor.read(7)
        assert math.isnan(reading.slope_mib_per_h) is (second < 120)
    assert reading.slope_mib_per_h == pytest.approx(50.0, rel=1e-3)
    assert (reading.gpu_reserved_bytes, reading.used_share, reading.watched_s) == (7, 0.5, 130.0)
    monitor.forget()
    assert math.isnan(monitor.read(7).slope_mib_per_h)


def test_resident_memory_is_this_processes() -> None:
    before = resident_bytes()
    with mmap.mmap(-1, 64 * 2**20) as held:  # the allocator may have as much to spare
        held.write(b"x" * len(held))
        assert resident_bytes() - before > 48 * 2**20, os.uname()
