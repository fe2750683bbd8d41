from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.matching import GeometryKind, verify_essential_matrix, verify_homography

pytest.importorskip("cv2", reason="opencv-python-headless is not installed")

HEIGHT, WIDTH = 480, 640
TRUE = np.array([[0.9, -0.2, 30.0], [0.15, 1.05, -12.0], [1e-4, -5e-5, 1.0]])
CAMERA = np.array([[500.0, 0.0, 320.0], [0.0, 510.0, 240.0], [0.0, 0.0, 1.0]])


def project(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    homogeneous = np.hstack((points, np.ones((len(points), 1)))) @ matrix.T
    projected: NDArray[np.float64] = homogeneous[:, :2] / homogeneous[:, 2:]
    return projected


def planar_pairs(
    seed: int, inliers: int, outliers: int, noise_px: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    generator = np.random.default_rng(seed)
    first = generator.uniform((0, 0), (WIDTH, HEIGHT), (inliers + outliers, 2))
    second = project(TRUE, first) + generator.normal(0, noise_px, first.shape)
    second[inliers:] = generator.uniform((0, 0), (WIDTH, HEIGHT), (outliers, 2))
    return first, second


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), outlier_share=st.floats(0.0, 0.6))
def test_homography_is_found_among_outliers(seed: int, outlier_share: float) -> None:
    outliers = int(200 * outlier_share / (1 - outlier_share))
    first, second = planar_pairs(seed, 200, outliers, 0.5)
    found = verify_homography(first, second, image_height=HEIGHT, image_width=WIDTH)
    assert found.kind is GeometryKind.HOMOGRAPHY and found.matrix is not None
    corners = np.array([[0.0, 0.0], [WIDTH, 0], [0, HEIGHT], [WIDTH, HEIGHT]])
    assert np.linalg.norm(project(found.matrix, corners) - project(TRUE, corners), axis=1).max() < 3.0
    assert found.is_inlier[:200].mean() > 0.9
    assert found.inlier_ratio == found.inlier_count / len(first)
    assert found.median_residual_px < 1.5
    assert found.coverage > 0.5


def test_equal_inputs_give_equal_results() -> None:
    first, second = planar_pairs(3, 100, 60, 0.5)
    results = [verify_homography(first, second, image_height=HEIGHT, image_width=WIDTH) for _ in range(2)]
    assert results[0].matrix is not None and results[1].matrix is not None
    assert (results[0].matrix == results[1].matrix).all()
    assert (results[0].is_inlier == results[1].is_inlier).all()


def test_homography_covariance_is_the_spread_of_repeated_measurements() -> None:
    matrices, covariances = [], []
    generator = np.random.default_rng(5)
    first = generator.uniform((0, 0), (WIDTH, HEIGHT), (150, 2))
    for _ in range(60):
        second = project(TRUE, first) + generator.normal(0, 0.5, first.shape)
        found = verify_homography(first, second, image_height=HEIGHT, image_width=WIDTH, threshold_px=10.0)
        assert found.matrix is not None and found.covariance is not None
        matrices.append(found.matrix.ravel()[:8])
        covariances.append(np.sqrt(np.diag(found.covariance)))
    spread = np.std(matrices, axis=0)
    ratio = np.mean(covariances, axis=0) / spread
    # MAGSAC++ weighs the matches, so that its result is a little noisier than least squares would be.
    assert (ratio > 0.5).all() and (ratio < 1.5).all()


def test_inliers_in_a_corner_cover_little() -> None:
    generator = np.random.default_rng(1)
    first = generator.uniform((0, 0), (WIDTH / 8, HEIGHT / 8), (60, 2))
    found = verify_homography(first, project(TRUE, first), image_height=HEIGHT, image_width=WIDTH)
    assert found.inlier_count == 60
    assert found.coverage <= 1 / 16


def test_relative_pose_is_found_among_outliers() -> None:
    generator = np.random.default_rng(2)
    points = generator.uniform((-4, -3, 6), (4, 3, 14), (250, 3))
    angle = 0.1
    rotation = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    translation = np.array([1.0, 0.2, -0.1])
    first = project(CAMERA, points[:, :2] / points[:, 2:])
    moved = points @ rotation.T + translation
    second = project(CAMERA, moved[:, :2] / moved[:, 2:]) + generator.normal(0, 0.3, (250, 2))
    second[200:] = generator.uniform((0, 0), (WIDTH, HEIGHT), (50, 2))
    found = verify_essential_matrix(first, second, CAMERA, CAMERA, image_height=HEIGHT, image_width=WIDTH)
    assert found.rotation is not None and found.translation_direction is not None
    turned = np.degrees(np.arccos((np.trace(found.rotation @ rotation.T) - 1) / 2))
    aligned = found.translation_direction @ translation / np.linalg.norm(translation)
    assert turned < 1.0 and aligned > 0.99
    assert found.is_inlier[:200].mean() > 0.9 and found.is_inlier[200:].mean() < 0.2
    assert found.median_residual_px < 1.0


@pytest.mark.parametrize("count", [0, 3])
def test_too_few_matches_give_no_model(count: int) -> None:
    points = np.random.default_rng(0).uniform(0, 100, (count, 2))
    for found in (
        verify_homography(points, points, image_height=HEIGHT, image_width=WIDTH),
        verify_essential_matrix(points, points, CAMERA, CAMERA, image_height=HEIGHT, image_width=WIDTH),
    ):
        assert found.matrix is None and found.inlier_count == 0 and found.inlier_ratio == 0.0
        assert np.isnan(found.median_residual_px) and found.coverage == 0.0


def test_points_on_a_line_give_no_covariance_of_nonsense() -> None:
    line = np.stack((np.linspace(0, 600, 20), np.linspace(0, 400, 20)), axis=1)
    found = verify_homography(line, line + 5.0, image_height=HEIGHT, image_width=WIDTH)
    assert found.covariance is None or np.isfinite(found.covariance).all()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (np.zeros((4, 3)), np.zeros((4, 3))),
        (np.zeros((4, 2)), np.zeros((5, 2))),
        (np.full((4, 2), np.nan), np.zeros((4, 2))),
    ],
)
def test_malformed_points_are_refused(first: NDArray[np.float64], second: NDArray[np.float64]) -> None:
    with pytest.raises(InferenceError, match="matched points"):
        verify_homography(first, second, image_height=HEIGHT, image_width=WIDTH)


def test_singular_camera_is_refused() -> None:
    points = np.zeros((8, 2))
    with pytest.raises(InferenceError, match="camera matrix"):
        verify_essential_matrix(points, points, np.zeros((3, 3)), CAMERA, image_height=HEIGHT, image_width=WIDTH)
