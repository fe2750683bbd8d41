from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gps_denied_inference.core.evaluation import GroundMotion, ground_motion, score_motions
from gps_denied_inference.core.flight import CameraPose, NadirCamera

CAMERA = NadirCamera(200, 120)
HEIGHT_M = 50.0


def seen_from(first: CameraPose, second: CameraPose) -> GroundMotion | None:
    return ground_motion(
        CAMERA.image_from_ground(second) @ np.linalg.inv(CAMERA.image_from_ground(first)),
        meters_per_pixel=HEIGHT_M / CAMERA.focal_px,
        yaw_deg=first.heading_deg,
        image_height=CAMERA.height_px,
        image_width=CAMERA.width_px,
    )


@given(st.floats(0, 359), st.floats(-179, 179), st.floats(-30, 30), st.floats(-30, 30), st.floats(0.7, 1.5))
def test_motion_of_a_level_camera_is_read_back(
    heading: float, turn: float, east: float, north: float, ratio: float
) -> None:
    first = CameraPose(0, 100.0, 200.0, HEIGHT_M, heading)
    second = CameraPose(0, 100.0 + east, 200.0 + north, HEIGHT_M * ratio, heading + turn)
    motion = seen_from(first, second)
    assert motion is not None
    assert (motion.east_m, motion.north_m) == pytest.approx((east, north), abs=1e-6)
    assert motion.turn_between_deg(GroundMotion(0, 0, turn)) < 1e-6


def test_homography_that_is_no_view_of_the_ground_gives_no_motion() -> None:
    for matrix in (np.zeros((3, 3)), np.full((3, 3), math.nan)):
        assert ground_motion(matrix, meters_per_pixel=1, yaw_deg=0, image_height=4, image_width=4) is None


def test_agreement_wants_both_place_and_heading() -> None:
    known = [GroundMotion(10.0, 0.0, 180.0)] * 4
    measured = [GroundMotion(13.0, 4.0, -178.0), GroundMotion(10.0, 0.0, 100.0), GroundMotion(16.0, 0.0, 180.0), None]
    score = score_motions(measured, known, within_m=5.0, within_deg=10.0)
    assert (score.pairs, score.agreeing) == (4, 0.25)
    assert score.median_error_m == pytest.approx(5.5)
    assert math.isnan(score_motions([], [], within_m=1, within_deg=1).agreeing)
