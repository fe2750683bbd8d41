"""The window of frame counters, on a clock moved by hand."""

from gps_denied_inference.core.contracts import DropReason
from gps_denied_inference.core.health import RecentCounts
from gps_denied_inference.core.pipeline import FrameCounts


class _Clock:
    now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def _counts(received: int, overwritten: int = 0) -> FrameCounts:
    dropped = {reason: overwritten if reason is DropReason.OVERWRITTEN else 0 for reason in DropReason}
    return FrameCounts(received, received - overwritten, dropped, 0)


def _read(window: RecentCounts, clock: _Clock, at_s: float, counts: FrameCounts) -> FrameCounts:
    clock.now_ns = int(at_s * 1e9)
    return window.update(counts)


def test_window_holds_what_was_counted_in_its_length_whatever_the_rate_of_the_readings() -> None:
    for rate_hz in (1, 2, 10):
        clock = _Clock()
        window = RecentCounts(2.0, clock)
        for index in range(10 * rate_hz + 1):
            recent = _read(window, clock, index / rate_hz, _counts(30 * index, 10 * index))
        assert recent.received == 60 * rate_hz
        assert recent.dropped[DropReason.OVERWRITTEN] == 20 * rate_hz


def test_readings_rarer_than_the_window_are_compared_with_the_last_one() -> None:
    clock = _Clock()
    window = RecentCounts(2.0, clock)
    _read(window, clock, 0.0, _counts(100))
    assert _read(window, clock, 10.0, _counts(150)).received == 50
    assert _read(window, clock, 20.0, _counts(151)).received == 1


def test_counters_that_begin_anew_empty_the_window() -> None:
    clock = _Clock()
    window = RecentCounts(2.0, clock)
    _read(window, clock, 0.0, _counts(100))
    # What came before the first reading of the new counters is within the window as well: a failure there is told.
    assert _read(window, clock, 1.0, _counts(3)).received == 3
    assert _read(window, clock, 2.0, _counts(8)).received == 8
    assert _read(window, clock, 4.0, _counts(8)).received == 0


def test_first_reading_counts_from_zero() -> None:
    assert RecentCounts(2.0, _Clock()).update(_counts(7, 2)).dropped[DropReason.OVERWRITTEN] == 2
