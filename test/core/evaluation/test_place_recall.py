from __future__ import annotations

import math

import numpy as np
import pytest

from gps_denied_inference.core.evaluation import score_places


def test_recall_counts_the_first_one_five_and_ten_candidates() -> None:
    far = np.full((4, 12), 99.0)
    far[0, 0], far[1, 4], far[2, 9], far[3, 10] = 3.0, 5.0, 5.0, 1.0
    score = score_places(far, 5.0)
    assert (score.queries, score.recall) == (4, (0.25, 0.5, 0.75))
    assert score.median_error_m == pytest.approx(99.0)


def test_fewer_candidates_than_ten_all_count() -> None:
    assert score_places(np.array([[9.0, 9.0, 1.0]]), 5.0).recall == (0.0, 1.0, 1.0)


def test_no_queries_have_no_recall_rather_than_a_good_one() -> None:
    score = score_places(np.empty((0, 5)), 5.0)
    assert score.queries == 0 and all(math.isnan(value) for value in (*score.recall, score.median_error_m))
