"""What a homography between two nadir pictures says of the flight, to be compared with GPS and compass."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["GroundMotion", "MotionScore", "ground_motion", "score_motions"]


@dataclass(frozen=True, slots=True)
class GroundMotion:
    """Where the second camera is, seen from the first.

    Attributes:
        east_m, north_m: from the point below the first camera to that below the second.
        turn_deg: change of heading, clockwise, -180..180.
    """

    east_m: float
    north_m: float
    turn_deg: float

    def distance_m(self, other: GroundMotion) -> float:
        """How far apart two opinions put the second camera."""
        return math.hypot(self.east_m - other.east_m, self.north_m - other.north_m)

    def turn_between_deg(self, other: GroundMotion) -> float:
        """How far apart they put its heading, 0..180."""
        return abs((self.turn_deg - other.turn_deg + 180.0) % 360.0 - 180.0)


@dataclass(frozen=True, slots=True)
class MotionScore:
    """Agreement of some pairs with what is known of the flight; NaN without pairs.

    Attributes:
        pairs: how many.
        agreeing: share of the pairs within the bounds, 0..1.
        median_error_m: of the second camera's place; infinite when most pairs have no homography.
    """

    pairs: int
    agreeing: float
    median_error_m: float


def ground_motion(
    second_from_first: NDArray[np.float64],
    *,
    meters_per_pixel: float,
    yaw_deg: float,
    image_height: int,
    image_width: int,
) -> GroundMotion | None:
    """Read the motion of a level camera over flat ground.

    Args:
        second_from_first: homography (3, 3).
        meters_per_pixel: of the first picture, on the ground.
        yaw_deg: direction of the first picture's top, clockwise from north.
        image_height, image_width: of both pictures, pixels.

    Returns:
        None when the homography is no view of the ground: it cannot be turned round, or its centre lies nowhere.
    """
    center = np.array([(image_width - 1) / 2, (image_height - 1) / 2, 1.0])
    try:
        seen = np.linalg.inv(second_from_first) @ center
    except np.linalg.LinAlgError:
        return None
    carried = second_from_first @ center
    if not np.isfinite(seen).all() or abs(seen[2]) < 1e-12 or abs(carried[2]) < 1e-12:
        return None
    right, down = (seen[:2] / seen[2] - center[:2]) * meters_per_pixel
    yaw = math.radians(yaw_deg)
    # Columns of the homography's derivative at the centre: what a step to the right becomes.
    step = (second_from_first[:2, 0] - second_from_first[2, 0] * carried[:2] / carried[2]) / carried[2]
    return GroundMotion(
        east_m=float(right * math.cos(yaw) - down * math.sin(yaw)),
        north_m=float(-right * math.sin(yaw) - down * math.cos(yaw)),
        # What lies still turns counter-clockwise in the picture of a camera that turns clockwise.
        turn_deg=-math.degrees(math.atan2(step[1], step[0])),
    )


def score_motions(
    measured: list[GroundMotion | None], known: list[GroundMotion], *, within_m: float, within_deg: float
) -> MotionScore:
    """Compare homographies with the flight.

    Args:
        measured: None where there is none.
        known: of the same pairs, from GPS and compass.
        within_m, within_deg: bounds of an agreeing pair, inclusive; they should cover the errors of GPS and compass.
    """
    if not known:
        return MotionScore(0, math.nan, math.nan)
    errors = [math.inf if item is None else item.distance_m(truth) for item, truth in zip(measured, known, strict=True)]
    agreeing = [
        item is not None and error <= within_m and item.turn_between_deg(truth) <= within_deg
        for item, truth, error in zip(measured, known, errors, strict=True)
    ]
    ordered = sorted(errors)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    return MotionScore(len(known), sum(agreeing) / len(agreeing), median)
