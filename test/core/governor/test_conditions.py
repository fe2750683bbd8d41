"""What counts as a missed deadline, and how much memory is in use."""

import math
from pathlib import Path

from gps_denied_inference.core.contracts import DropReason
from gps_denied_inference.core.governor import DeadlineWatch, used_memory_share
from gps_denied_inference.core.pipeline import FrameCounts

S = 1_000_000_000


def _counts(published: int, **dropped: int) -> FrameCounts:
    by_reason = {reason: dropped.get(reason.value, 0) for reason in DropReason}
    return FrameCounts(published + sum(dropped.values()), published, by_reason, 0)


def test_late_overwritten_and_stale_frames_are_misses() -> None:
    watch = DeadlineWatch(window_s=2.0)
    watch.miss_ratio(0, _counts(0))
    for _ in range(2):
        watch.published(500.0, 400.0)
    watch.published(400.0, 400.0)
    assert watch.miss_ratio(S, _counts(4, overwritten=3, stale=1)) == (2 + 4) / 8


def test_frames_that_were_not_to_be_worked_on_are_no_misses() -> None:
    watch = DeadlineWatch()
    watch.miss_ratio(0, _counts(0))
    assert watch.miss_ratio(S, _counts(8, rate_limited=90, inactive=3, failed=2, undecodable=1)) == 0.0


def test_few_frames_tell_nothing() -> None:
    watch = DeadlineWatch(least_frames=4)
    watch.miss_ratio(0, _counts(0))
    assert math.isnan(watch.miss_ratio(S, _counts(0, overwritten=3)))


def test_what_left_the_window_is_forgotten() -> None:
    watch = DeadlineWatch(window_s=2.0)
    watch.miss_ratio(0, _counts(0))
    assert watch.miss_ratio(S, _counts(5, overwritten=5)) == 0.5
    ratios = [watch.miss_ratio(second * S, _counts(5 * second, overwritten=5)) for second in range(2, 6)]
    assert ratios[-1] == 0.0


def test_a_step_starts_the_window_anew() -> None:
    watch = DeadlineWatch()
    watch.miss_ratio(0, _counts(0))
    watch.miss_ratio(S, _counts(5, overwritten=5))
    watch.forget()
    watch.miss_ratio(S + 1, _counts(5, overwritten=5))
    assert watch.miss_ratio(2 * S, _counts(10, overwritten=5)) == 0.0


def test_clock_that_jumps_back_and_counters_that_start_anew_empty_the_window() -> None:
    watch = DeadlineWatch()
    watch.miss_ratio(10 * S, _counts(50))
    assert math.isnan(watch.miss_ratio(S, _counts(60)))
    assert math.isnan(watch.miss_ratio(2 * S, _counts(3)))
    assert watch.miss_ratio(3 * S, _counts(9)) == 0.0


def test_memory_is_what_the_kernel_says(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    250 kB\n")
    assert used_memory_share(meminfo) == 0.75
    assert 0.0 < used_memory_share() < 1.0


def test_memory_that_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    assert math.isnan(used_memory_share(tmp_path / "none"))
    (tmp_path / "odd").write_text("MemTotal: lots\nMemAvailable:\n")
    assert math.isnan(used_memory_share(tmp_path / "odd"))
