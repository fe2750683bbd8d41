"""What the virtual camera sees, checked against a map whose content is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gps_denied_inference.core.flight import CameraPose, NadirCamera, Orthophoto

CAMERA = NadirCamera(320, 240)


def image_point(camera: NadirCamera, pose: CameraPose, x_m: float, y_m: float) -> NDArray[np.float64]:
    projected = camera.image_from_ground(pose) @ np.array([x_m, y_m, 1.0])
    return np.asarray(projected[:2] / projected[2])


@given(
    heading=st.floats(0, 359),
    pitch=st.floats(-20, 20),
    roll=st.floats(-20, 20),
    height=st.floats(10, 500),
    x=st.floats(-100, 100),
    y=st.floats(-100, 100),
)
def test_quaternion_turns_the_nose_where_the_optical_frame_says(
    heading: float, pitch: float, roll: float, height: float, x: float, y: float
) -> None:
    pose = CameraPose(0, x, y, height, heading, pitch, roll)
    qx, qy, qz, qw = pose.orientation_xyzw()
    forward = np.array([1 - 2 * (qy * qy + qz * qz), 2 * (qx * qy + qw * qz), 2 * (qx * qz - qw * qy)])
    assert math.isclose(qx * qx + qy * qy + qz * qz + qw * qw, 1.0, abs_tol=1e-9)
    np.testing.assert_allclose(forward, -pose.map_from_optical()[:, 1], atol=1e-9)


def test_heading_north_is_a_quarter_turn_in_the_map_frame() -> None:
    np.testing.assert_allclose(
        CameraPose(0, 0, 0, 50, 0.0).orientation_xyzw(), (0, 0, math.sqrt(0.5), math.sqrt(0.5)), atol=1e-12
    )


@given(heading=st.floats(0, 359), x=st.floats(-1000, 1000), y=st.floats(-1000, 1000), height=st.floats(5, 1000))
def test_ground_below_a_level_camera_is_in_the_image_centre(heading: float, x: float, y: float, height: float) -> None:
    np.testing.assert_allclose(
        image_point(CAMERA, CameraPose(0, x, y, height, heading), x, y), (159.5, 119.5), atol=1e-6
    )


@pytest.mark.parametrize("heading", [0.0, 45.0, 90.0, 200.0, 315.0])
def test_ground_ahead_of_the_nose_is_in_the_upper_half(heading: float) -> None:
    ahead = (10 * math.sin(math.radians(heading)), 10 * math.cos(math.radians(heading)))
    u, v = image_point(CAMERA, CameraPose(0, 0, 0, 50, heading), *ahead)
    assert u == pytest.approx(159.5)
    assert v == pytest.approx(119.5 - 10 * CAMERA.focal_px / 50)


def test_nose_up_looks_ahead_and_right_wing_down_looks_left() -> None:
    ahead = image_point(CAMERA, CameraPose(0, 0, 0, 50, 0.0, pitch_deg=10.0), 0, 50 * math.tan(math.radians(10)))
    np.testing.assert_allclose(ahead, (159.5, 119.5), atol=1e-6)
    left = image_point(CAMERA, CameraPose(0, 0, 0, 50, 0.0, roll_deg=10.0), -50 * math.tan(math.radians(10)), 0)
    np.testing.assert_allclose(left, (159.5, 119.5), atol=1e-6)


def test_render_shows_a_landmark_where_the_homography_says() -> None:
    ground = np.zeros((600, 600, 3), np.uint8)
    ground[98:103, 398:403] = 255  # a white square of 0.5 m around x = 40.05 m, y = 49.95 m
    pose = CameraPose(0, 35.0, 45.0, 30.0, 30.0, pitch_deg=3.0, roll_deg=-2.0)
    image = CAMERA.render(Orthophoto(ground, 0.1), pose)
    rows, columns = np.nonzero(image[:, :, 0] > 100)
    np.testing.assert_allclose((columns.mean(), rows.mean()), image_point(CAMERA, pose, 40.05, 49.95), atol=0.6)


def test_coarse_rendering_does_not_alias() -> None:
    stripes = np.zeros((800, 800, 3), np.uint8)
    stripes[:, ::2] = 255  # one pixel wide: only their mean can be seen from high above
    image = CAMERA.render(Orthophoto(stripes, 0.1), CameraPose(0, 40, 40, 110, 10.0))
    assert image[60:-60, 60:-60].std() < 6
    assert image.mean() == pytest.approx(127.5, abs=4)
