"""How well two images are matched: the homography found, against the true one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["AUC_THRESHOLDS_PX", "MatchScore", "PairOutcome", "area_under_curve", "corner_error_px", "score_matches"]

AUC_THRESHOLDS_PX = (3.0, 5.0, 10.0)
"""As LoFTR (Sun et al., CVPR 2021, section 4.1) reports homographies."""


@dataclass(frozen=True, slots=True)
class PairOutcome:
    """What came of one pair of images.

    Attributes:
        name: of the pair.
        condition: what sets the images apart, e.g. `autumn`; empty when nobody said.
        matches: pairs of points before the homography was fitted.
        inliers: those that agree with it.
        corner_error_px: see `corner_error_px`; infinite without a homography, NaN without a true one.
    """

    name: str
    condition: str
    matches: int
    inliers: int
    corner_error_px: float


@dataclass(frozen=True, slots=True)
class MatchScore:
    """Figures of merit of some pairs; NaN where there is nothing to average.

    Attributes:
        pairs: how many.
        auc: area under the curve of the share of pairs over the corner error, up to each of `AUC_THRESHOLDS_PX`, 0..1.
        median_error_px: of the corner errors; infinite when most pairs have no homography.
        median_inliers: of a pair.
        inlier_ratio: mean of inliers among matches, 0..1.
    """

    pairs: int
    auc: tuple[float, float, float]
    median_error_px: float
    median_inliers: float
    inlier_ratio: float


def corner_error_px(
    estimated: NDArray[np.float64] | None, truth: NDArray[np.float64], *, image_height: int, image_width: int
) -> float:
    """Return how far a homography carries the corners of the first image from where they belong, on average, pixels.

    The corner error of DeTone et al. (SuperPoint, CVPR Workshops 2018, section 6.2).

    Args:
        estimated: (3, 3), first to second image; None when none was found.
        truth: (3, 3).
        image_height, image_width: of the first image, pixels.

    Returns:
        Pixels of the second image; infinite without a homography, and when it carries a corner to infinity.
    """
    if estimated is None:
        return math.inf
    right, bottom = image_width - 1.0, image_height - 1.0
    corners = np.array([[0.0, 0.0, 1.0], [right, 0.0, 1.0], [right, bottom, 1.0], [0.0, bottom, 1.0]])
    found, wanted = corners @ np.asarray(estimated, np.float64).T, corners @ np.asarray(truth, np.float64).T
    # A corner behind the second camera is nowhere in its image.
    if not np.isfinite(found).all() or np.any(found[:, 2] * math.copysign(1.0, float(found[0, 2])) <= 1e-9):
        return math.inf
    distances = np.linalg.norm(found[:, :2] / found[:, 2:] - wanted[:, :2] / wanted[:, 2:], axis=1)
    return float(distances.mean())


def area_under_curve(errors: Sequence[float], threshold: float) -> float:
    """Return the area under the curve of the share of errors up to a value, divided by the threshold.

    Errors are joined by straight lines from (0, 0), and the last one's share holds up to the threshold, as in the
    evaluation of SuperGlue (Sarlin et al., CVPR 2020, section 5), so that figures can be compared with published ones.

    Args:
        errors: not negative; infinite where nothing was found.
        threshold: above 0.

    Returns:
        0..1; NaN without errors.
    """
    if not errors:
        return math.nan
    below = np.sort([error for error in errors if error <= threshold])
    share = np.arange(len(below) + 1) / len(errors)
    x = np.concatenate(([0.0], below, [threshold]))
    y = np.concatenate((share, share[-1:]))
    return float(np.trapezoid(y, x) / threshold)


def score_matches(outcomes: Sequence[PairOutcome]) -> MatchScore:
    """Score some pairs; those without a true homography count for the inliers alone."""
    errors = [item.corner_error_px for item in outcomes if not math.isnan(item.corner_error_px)]
    areas = [area_under_curve(errors, threshold) for threshold in AUC_THRESHOLDS_PX]
    ratios = [item.inliers / item.matches if item.matches else 0.0 for item in outcomes]
    return MatchScore(
        pairs=len(outcomes),
        auc=(areas[0], areas[1], areas[2]),
        median_error_px=_median(errors),
        median_inliers=_median([float(item.inliers) for item in outcomes]),
        inlier_ratio=float(np.mean(ratios)) if ratios else math.nan,
    )


def _median(values: Sequence[float]) -> float:
    """Median that infinities don't trouble: of an even number the mean of the two in the middle."""
    if not values:
        return math.nan
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
