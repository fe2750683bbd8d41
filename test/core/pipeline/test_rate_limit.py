"""Which frames a rate limit admits."""

from hypothesis import given
from hypothesis import strategies as st

from gps_denied_inference.core.pipeline import RateLimit

MS = 1_000_000


def test_jittering_camera_gives_every_second_frame() -> None:
    limit = RateLimit(5.0)
    jitter = [0, 9, -7, 3, -12, 5, 14, -9, 0, 8]
    admitted = [index for index in range(10) if limit.admits((100 * index + jitter[index]) * MS)]
    assert admitted == [0, 2, 4, 6, 8]


def test_slower_camera_loses_nothing() -> None:
    limit = RateLimit(20.0)
    assert all(limit.admits(index * 100 * MS) for index in range(20))


def test_pause_gives_no_credit() -> None:
    limit = RateLimit(10.0)
    limit.admits(0)
    burst = [limit.admits((10_000 + index) * MS) for index in range(50)]
    assert sum(burst) == 1


def test_clock_that_jumps_back_does_not_close_the_gate() -> None:
    limit = RateLimit(10.0)
    limit.admits(3600 * 1000 * MS)
    assert limit.admits(5 * MS)


@given(st.floats(0.5, 100.0), st.lists(st.integers(0, 500), min_size=1, max_size=200))
def test_rate_stays_under_the_limit(max_rate_hz: float, pauses_ms: list[int]) -> None:
    limit, now_ns, admitted = RateLimit(max_rate_hz), 0, []
    for pause_ms in pauses_ms:
        now_ns += pause_ms * MS
        if limit.admits(now_ns):
            admitted.append(now_ns)
    span_s = (admitted[-1] - admitted[0]) / 1e9
    assert len(admitted) <= 1 + span_s * max_rate_hz + 1.26
