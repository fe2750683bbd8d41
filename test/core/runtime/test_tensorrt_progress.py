"""Nested phases as one fraction."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gps_denied_inference.core.runtime.tensorrt_progress import BuildProgress


def test_nested_phases_fill_the_step_of_their_parent() -> None:
    told: list[tuple[str, float]] = []
    progress = BuildProgress(lambda phase, fraction: told.append((phase, fraction)))
    progress.start("build", None, 2)
    progress.start("timing", "build", 4)
    assert progress.step("timing", 0)
    assert told[-1] == ("timing", 1 / 8)
    progress.finish("timing")
    assert progress.step("build", 0)
    assert told[-1] == ("build", 0.5)
    assert progress.step("build", 1)
    progress.finish("build")
    assert told[-1] == ("build", 1.0)


def test_a_phase_that_leaves_steps_out_is_complete_when_the_build_is() -> None:
    told: list[tuple[str, float]] = []
    progress = BuildProgress(lambda phase, fraction: told.append((phase, fraction)))
    progress.start("build", None, 6)
    progress.step("build", 4)
    progress.finish("build")
    assert told[-1] == ("build", 5 / 6)
    progress.complete()
    assert told[-1] == ("build", 1.0)


def test_a_cancelled_build_is_told_at_the_next_step() -> None:
    progress = BuildProgress(is_cancelled=lambda: True)
    progress.start("build", None, 2)
    assert not progress.step("build", 0)
    assert progress.was_cancelled


@pytest.mark.parametrize("error", [ValueError("display is gone"), KeyboardInterrupt()])
def test_what_a_callback_raises_does_not_cross_the_build(error: BaseException) -> None:
    calls = 0

    def fail(_phase: str, _fraction: float) -> None:
        nonlocal calls
        calls += 1
        raise error

    progress = BuildProgress(fail)
    progress.start("build", None, 2)
    assert not progress.step("build", 0)
    progress.finish("build")
    assert progress.error is error and calls == 1 and not progress.was_cancelled


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["start", "step", "finish"]),
            st.sampled_from("abc"),
            st.sampled_from(["a", "b", "c", None]),
            st.integers(0, 5),
        )
    )
)
def test_the_fraction_never_falls_whatever_the_phases(events: list[tuple[str, str, str | None, int]]) -> None:
    told: list[float] = []
    progress = BuildProgress(lambda _phase, fraction: told.append(fraction))
    for kind, name, parent, number in events:
        if kind == "start" and parent is not None and parent >= name:
            parent = None  # a phase is no descendant of itself
        if kind == "start":
            progress.start(name, parent, number)
        elif kind == "step":
            progress.step(name, number)
        else:
            progress.finish(name)
    assert told == sorted(told) and all(0 <= fraction <= 1 for fraction in told)
