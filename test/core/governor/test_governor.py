"""The state machine: never faster than the dwell, always back to the top, never off the ladder."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gps_denied_inference.core.governor import Conditions, DegradationGovernor, GovernorLimits

S = 1_000_000_000
GOOD = Conditions(miss_ratio=0.0, memory_share=0.5)
HOT = Conditions(is_throttling=True, throttle_cause="gpu-throttle-alert")
SLOW = Conditions(miss_ratio=0.5)
FULL = Conditions(memory_share=0.99)
BETWEEN = Conditions(miss_ratio=0.15)
LIMITS = GovernorLimits(dwell_s=2.0, stable_s=10.0)
MOST_PATIENCE = 8

conditions = st.builds(
    Conditions,
    is_throttling=st.booleans(),
    miss_ratio=st.one_of(st.just(math.nan), st.floats(0.0, 1.0)),
    memory_share=st.one_of(st.just(math.nan), st.floats(0.0, 1.0)),
)
limits = st.builds(
    GovernorLimits,
    dwell_s=st.floats(0.1, 60.0),
    stable_s=st.floats(0.1, 600.0),
    miss_ratio=st.floats(0.0, 1.0),
    memory_share=st.floats(0.0, 1.0),
)


@pytest.mark.parametrize(
    ("stress", "words"), [(HOT, "gpu-throttle-alert"), (SLOW, "50% of the frames"), (FULL, "99% of the memory")]
)
def test_each_stress_steps_down_at_once_and_says_why(stress: Conditions, words: str) -> None:
    governor = DegradationGovernor(3, LIMITS)
    assert governor.decide(0, GOOD).step == 0
    decision = governor.decide(1, stress)
    assert (decision.rung, decision.step) == (1, 1)
    assert words in decision.reason


def test_lasting_stress_reaches_the_last_rung_one_dwell_after_another() -> None:
    governor = DegradationGovernor(3, LIMITS)
    rungs = [governor.decide(tick * S // 2, HOT).rung for tick in range(12)]
    assert rungs == [1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2]


def test_step_up_takes_the_stable_time_on_every_rung() -> None:
    governor = DegradationGovernor(3, LIMITS)
    for second in range(0, 4, 2):
        governor.decide(second * S, HOT)
    rungs = {second: governor.decide(second * S, GOOD).rung for second in range(3, 30)}
    assert [second for second in rungs if rungs[second] != rungs.get(second - 1, 2)] == [12, 22]
    assert governor.rung == 0
    assert governor.seconds_to_step_up == 0.0


def test_conditions_between_good_and_stress_hold_the_rung() -> None:
    governor = DegradationGovernor(3, LIMITS)
    governor.decide(0, SLOW)
    assert {governor.decide(second * S, BETWEEN).rung for second in range(1, 200)} == {1}
    assert governor.seconds_to_step_up == 10.0


def test_one_bad_moment_starts_the_stable_time_anew() -> None:
    governor = DegradationGovernor(2, LIMITS)
    governor.decide(0, SLOW)
    for second in range(1, 10):
        governor.decide(second * S, GOOD)
    governor.decide(10 * S, BETWEEN)
    assert [governor.decide(second * S, GOOD).rung for second in range(11, 21)] == [1] * 9 + [0]


def test_rung_that_cannot_hold_is_tried_ever_more_rarely() -> None:
    """Overload that only the lower rung can carry: good there, bad on top."""
    governor = DegradationGovernor(2, LIMITS)
    steps_up = []
    for second in range(2000):
        decision = governor.decide(second * S, GOOD if governor.rung else SLOW)
        if decision.step < 0:
            steps_up.append(second)
    waits = [later - earlier for earlier, later in pairwise(steps_up)]
    assert waits[:3] == sorted(waits[:3]) and waits[2] > 3 * waits[0] / 2
    assert max(waits) <= MOST_PATIENCE * 10 + 3


def test_step_up_that_holds_forgets_the_failed_ones() -> None:
    governor = DegradationGovernor(2, LIMITS)
    second = 0

    def go_on(present: Conditions, until: int) -> None:
        nonlocal second
        for _ in range(1000):
            if governor.rung == until:
                return
            second += 1
            governor.decide(second * S, present)
        raise AssertionError(f"never reached rung {until}")

    for _ in range(4):  # each step up is taken back at once
        go_on(HOT, 1)
        go_on(GOOD, 0)
    for _ in range(20):
        second += 1
        governor.decide(second * S, GOOD)
    go_on(HOT, 1)
    before = second
    go_on(GOOD, 0)
    assert second - before == 10


def test_what_is_unknown_asks_for_nothing() -> None:
    governor = DegradationGovernor(2, LIMITS)
    assert governor.decide(0, Conditions()).step == 0
    governor.decide(S, HOT)
    assert [governor.decide(second * S, Conditions()).rung for second in range(2, 13)][-1] == 0


def test_clock_that_jumps_forward_counts_one_dwell() -> None:
    governor = DegradationGovernor(2, LIMITS)
    governor.decide(0, HOT)
    assert governor.decide(3600 * S, GOOD).rung == 1
    assert governor.seconds_to_step_up == LIMITS.stable_s - LIMITS.dwell_s


def test_clock_that_jumps_back_passes_no_time_and_stops_nothing() -> None:
    governor = DegradationGovernor(2, LIMITS)
    governor.decide(10_000 * S, HOT)
    rungs = [governor.decide(second * S, GOOD).rung for second in range(12)]
    assert rungs == [1] * 10 + [0, 0]


@given(
    st.integers(1, 6),
    limits,
    st.lists(st.tuples(st.floats(0.0, 30.0), conditions), max_size=200),
)
def test_never_leaves_the_ladder_and_never_steps_faster_than_the_dwell(
    rungs: int, chosen: GovernorLimits, course: list[tuple[float, Conditions]]
) -> None:
    governor = DegradationGovernor(rungs, chosen)
    now_ns, rung, last_step_ns = 0, 0, None
    for pause_s, present in course:
        now_ns += int(pause_s * 1e9)
        decision = governor.decide(now_ns, present)
        assert 0 <= decision.rung < rungs
        assert decision.rung - rung == decision.step in (-1, 0, 1)
        assert bool(decision.reason) == bool(decision.step)
        if decision.step:
            assert last_step_ns is None or now_ns - last_step_ns >= (chosen.dwell_s - 1e-6) * 1e9
            last_step_ns = now_ns
        if decision.step > 0:
            assert chosen.stress(present)
        if decision.step < 0:
            assert chosen.is_good(present)
        rung = decision.rung


@given(
    st.integers(1, 6),
    limits,
    st.lists(st.tuples(st.floats(-1e6, 1e6), conditions), max_size=100),
)
def test_always_returns_to_the_top_when_good_for_long_enough(
    rungs: int, chosen: GovernorLimits, course: list[tuple[float, Conditions]]
) -> None:
    """Whatever came before, clock jumps to both sides included."""
    governor = DegradationGovernor(rungs, chosen)
    now_ns = 0
    for pause_s, present in course:
        now_ns += int(pause_s * 1e9)
        assert 0 <= governor.decide(now_ns, present).rung < rungs
    tick_s = min(chosen.dwell_s, chosen.stable_s) / 2
    # After the first step up has held, patience is 1 again; until then at most MOST_PATIENCE.
    longest_s = (rungs + MOST_PATIENCE) * max(chosen.stable_s + tick_s, chosen.dwell_s + tick_s)
    calm = Conditions(miss_ratio=0.0, memory_share=-1.0)
    for _ in range(math.ceil(longest_s / tick_s) + 2):
        now_ns += int(tick_s * 1e9) + 1
        governor.decide(now_ns, calm)
    assert governor.rung == 0


@given(limits, conditions)
def test_stress_is_never_good(chosen: GovernorLimits, present: Conditions) -> None:
    assert not (chosen.stress(present) and chosen.is_good(present))
