"""Figures of merit."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gps_denied_inference.core.evaluation import (
    ReplayAccounting,
    heading_octants,
    percentiles,
    position_errors_m,
    score_retrieval,
    self_similarity,
)
from gps_denied_inference.core.evaluation.svg_chart import round_ticks


def test_recall_counts_errors_up_to_the_bound_inclusive() -> None:
    errors = position_errors_m([(0, 0), (3, 4), (0, 5.01), (10, 0)], [(0, 0), (0, 0), (0, 0), (10, 30)])
    score = score_retrieval(errors, 5.0)
    assert list(errors) == pytest.approx([0, 5, 5.01, 30])
    assert (score.frames, score.recall_at_1) == (4, 0.5)
    assert score.median_error_m == pytest.approx(5.005)


def test_no_frames_have_no_score_rather_than_a_good_one() -> None:
    score = score_retrieval(position_errors_m([], []), 5.0)
    assert score.frames == 0 and math.isnan(score.recall_at_1) and math.isnan(score.median_error_m)


def test_percentiles_interpolate_and_are_nan_without_values() -> None:
    values = percentiles([float(value) for value in range(101)])
    assert (values.p50, values.p95, values.p99) == (50, 95, 99)
    assert math.isnan(percentiles([]).p99)


def test_self_similarity_is_symmetric_with_ones_on_the_diagonal() -> None:
    matrix = self_similarity(np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32))
    np.testing.assert_allclose(np.diag(matrix), 1, atol=1e-6)
    np.testing.assert_allclose(matrix, matrix.T)


def test_octants_are_counted_once_each() -> None:
    assert heading_octants([0, 10, 44.9, 45, 359.9, 360]) == 3


def accounting(**changes: int) -> ReplayAccounting:
    fields = {"frames_in": 10, "received": 9, "published": 6, "stale": 2, "overwritten": 1, "pending": 0, "recorded": 6}
    fields |= changes
    return ReplayAccounting(
        frames_in=fields["frames_in"],
        frames_received=fields["received"],
        frames_published=fields["published"],
        frames_dropped={"stale": fields["stale"], "overwritten": fields["overwritten"]},
        frames_pending=fields["pending"],
        messages_recorded=fields["recorded"],
    )


def test_accounting_that_adds_up_has_no_violation_and_names_transport_losses() -> None:
    assert accounting().violations() == []
    assert accounting().frames_lost_in_transport == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"published": 7, "recorded": 7}, "received 9 frames but published 7"),
        ({"stale": 1}, "dropped 2"),
        ({"received": 11, "stale": 4}, "not the 10 that were sent"),
        ({"pending": 1, "stale": 1}, "still pending"),
        ({"recorded": 5}, "5 were recorded"),
    ],
)
def test_each_way_of_not_adding_up_is_named(changes: dict[str, int], words: str) -> None:
    assert any(words in violation for violation in accounting(**changes).violations())


@given(low=st.floats(-1e4, 1e4), span=st.floats(1e-3, 1e5), most=st.integers(3, 10))
def test_ticks_lie_in_the_range_evenly_and_are_few(low: float, span: float, most: int) -> None:
    ticks = round_ticks(low, low + span, most)
    assert 1 <= len(ticks) <= most
    assert all(low - 1e-6 * span <= tick <= low + span * (1 + 1e-6) for tick in ticks)
    assert np.allclose(np.diff(ticks), ticks[1] - ticks[0] if len(ticks) > 1 else 0)
