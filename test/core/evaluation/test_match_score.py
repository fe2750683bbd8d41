from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gps_denied_inference.core.evaluation import PairOutcome, area_under_curve, corner_error_px, score_matches


def shifted(x: float, y: float) -> np.ndarray:
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def test_corner_error_of_a_shift_is_its_length() -> None:
    assert corner_error_px(shifted(3, 4), np.eye(3), image_height=48, image_width=64) == pytest.approx(5.0)
    assert corner_error_px(7 * shifted(3, 4), np.eye(3), image_height=48, image_width=64) == pytest.approx(5.0)


def test_corner_error_of_an_enlargement_is_the_mean_of_the_corners_moves() -> None:
    # By 1.1 about the first pixel, in an image of 31 by 41 pixels: 0, 3, 5 and 4 pixels.
    found = corner_error_px(np.diag([1.1, 1.1, 1.0]), np.eye(3), image_height=41, image_width=31)
    assert found == pytest.approx((0 + 3 + 5 + 4) / 4)


def test_no_homography_and_one_that_folds_the_image_are_infinitely_wrong() -> None:
    assert corner_error_px(None, np.eye(3), image_height=4, image_width=4) == math.inf
    folded = np.array([[1.0, 0, 0], [0, 1, 0], [-0.5, 0, 1]])
    assert corner_error_px(folded, np.eye(3), image_height=4, image_width=4) == math.inf


@pytest.mark.parametrize(
    ("errors", "threshold", "area"),
    [
        ([0.0, 0.0], 5.0, 1.0),
        ([6.0, math.inf], 5.0, 0.0),
        # A ramp to 1 at 2, then flat: (2 / 2 + 3) / 5.
        ([2.0], 5.0, 0.8),
        # (0, 0) - (1, 1/2) - (3, 1/2): (0.25 + 1) / 3.
        ([1.0, 10.0], 3.0, 1.25 / 3),
        # (0, 0) - (1, 1/4) - (2, 1/2) - (4, 3/4) - (5, 3/4): (0.125 + 0.375 + 1.25 + 0.75) / 5.
        ([4.0, 1.0, math.inf, 2.0], 5.0, 0.5),
    ],
)
def test_area_under_the_curve_has_its_closed_form(errors: list[float], threshold: float, area: float) -> None:
    assert area_under_curve(errors, threshold) == pytest.approx(area)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=30), st.floats(0.1, 50))
def test_area_lies_between_the_steps_on_either_side(errors: list[float], threshold: float) -> None:
    area = area_under_curve(errors, threshold)
    below = float(np.mean([max(0.0, 1 - error / threshold) for error in errors]))
    assert below - 1e-9 <= area <= below + 1 / len(errors) + 1e-9


def test_score_takes_infinite_and_unknown_errors() -> None:
    outcomes = [
        PairOutcome("a", "light", 10, 5, 1.0),
        PairOutcome("b", "light", 0, 0, math.inf),
        PairOutcome("c", "light", 40, 40, math.nan),
    ]
    score = score_matches(outcomes)
    assert (score.pairs, score.median_inliers, score.median_error_px) == (3, 5, math.inf)
    assert score.inlier_ratio == pytest.approx((0.5 + 0 + 1) / 3)
    assert score.auc[0] == pytest.approx(0.5 * (1 - 0.5 / 3))
    assert math.isnan(score_matches([]).auc[0])
