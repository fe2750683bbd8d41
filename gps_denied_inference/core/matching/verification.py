"""The geometry that matches agree on, found with MAGSAC++ of OpenCV, and how well they agree."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.optional import require

__all__ = ["GeometryKind", "VerifiedGeometry", "verify_essential_matrix", "verify_homography"]

_CONFIDENCE = 0.9999
_MAX_ITERATIONS = 10_000
_COVERAGE_CELLS = 8  # a side
_SMALLEST_SAMPLE = {"homography": 4, "essential_matrix": 5}


class GeometryKind(Enum):
    """What relates the points of two images."""

    HOMOGRAPHY = "homography"
    """second ~ H · first: a flat scene, or a camera that only turns."""

    ESSENTIAL_MATRIX = "essential_matrix"
    """second^T · E · first = 0 in normalised coordinates: any scene, calibrated cameras."""


@dataclass(frozen=True, slots=True, eq=False)
class VerifiedGeometry:
    """A model and the matches that agree with it.

    Attributes:
        kind: of the model.
        matrix: float64, (3, 3); None when none was found. A homography has a last element of 1.
        is_inlier: bool, (M,), for each match.
        median_residual_px: of the inliers, pixels: for a homography the distance in the second image, for an essential
            matrix the Sampson distance. NaN without inliers.
        coverage: share of the cells of an 8×8 grid over the first image that hold an inlier, 0..1. A model whose
            inliers huddle in one corner says little of the rest.
        covariance: float64, (8, 8), of the homography's elements in row order without the last, from the residuals of
            the inliers; None for an essential matrix, or with fewer than 5 inliers.
        rotation: float64, (3, 3), from the first camera to the second; None but for an essential matrix.
        translation_direction: float64, (3,), unit length, in the second camera; None but for an essential matrix.
    """

    kind: GeometryKind
    matrix: NDArray[np.float64] | None
    is_inlier: NDArray[np.bool_]
    median_residual_px: float
    coverage: float
    covariance: NDArray[np.float64] | None = None
    rotation: NDArray[np.float64] | None = None
    translation_direction: NDArray[np.float64] | None = None

    @property
    def inlier_count(self) -> int:
        return int(np.count_nonzero(self.is_inlier))

    @property
    def inlier_ratio(self) -> float:
        """Inliers among the matches, 0..1; 0 without matches."""
        return self.inlier_count / len(self.is_inlier) if len(self.is_inlier) else 0.0


def verify_homography(
    first_px: NDArray[np.floating],
    second_px: NDArray[np.floating],
    *,
    image_height: int,
    image_width: int,
    threshold_px: float = 3.0,
) -> VerifiedGeometry:
    """Find the homography that most matches agree on. Equal inputs give equal results.

    Args:
        first_px, second_px: (M, 2), matched points, pixels; best matches first is not needed.
        image_height, image_width: of the first image, pixels.
        threshold_px: largest noise of a true match, pixels of the second image.

    Raises:
        InferenceError: the points are not (M, 2) each, or not finite.
        RuntimeNotAvailableError: OpenCV is absent.
    """
    first, second = _checked(first_px, second_px)
    kind = GeometryKind.HOMOGRAPHY
    if len(first) < _SMALLEST_SAMPLE[kind.value]:
        return _nothing(kind, len(first))
    cv2 = _opencv()
    matrix, mask = cv2.findHomography(
        first, second, cv2.USAC_MAGSAC, threshold_px, maxIters=_MAX_ITERATIONS, confidence=_CONFIDENCE
    )
    if matrix is None or not np.isfinite(matrix).all() or abs(matrix[2, 2]) < 1e-12:
        return _nothing(kind, len(first))
    matrix = np.asarray(matrix, np.float64) / matrix[2, 2]
    is_inlier = np.asarray(mask).reshape(-1).astype(bool)
    if not is_inlier.any():
        return _nothing(kind, len(first))
    residuals = second[is_inlier] - _transferred(matrix, first[is_inlier])
    return VerifiedGeometry(
        kind,
        matrix,
        is_inlier,
        median_residual_px=float(np.median(np.linalg.norm(residuals, axis=1))),
        coverage=_coverage(first[is_inlier], image_height, image_width),
        covariance=_homography_covariance(matrix, first[is_inlier], residuals),
    )


def verify_essential_matrix(
    first_px: NDArray[np.floating],
    second_px: NDArray[np.floating],
    first_camera: NDArray[np.floating],
    second_camera: NDArray[np.floating],
    *,
    image_height: int,
    image_width: int,
    threshold_px: float = 1.5,
) -> VerifiedGeometry:
    """Find the relative pose, up to scale, that most matches agree on. Equal inputs give equal results.

    Over flat ground the pose is ambiguous: prefer the homography there.

    Args:
        first_px, second_px: (M, 2), matched points without lens distortion, pixels.
        first_camera, second_camera: (3, 3), camera matrices.
        image_height, image_width: of the first image, pixels.
        threshold_px: largest distance of a true match from its epipolar line, pixels.

    Raises:
        InferenceError: the points are not (M, 2) each, a camera matrix is not (3, 3), or something is not finite.
        RuntimeNotAvailableError: OpenCV is absent.
    """
    first, second = _checked(first_px, second_px)
    cameras = [np.asarray(camera, np.float64) for camera in (first_camera, second_camera)]
    for camera in cameras:
        if camera.shape != (3, 3) or not np.isfinite(camera).all() or abs(np.linalg.det(camera)) < 1e-12:
            raise InferenceError(f"a camera matrix is {camera.tolist()}; expected an invertible (3, 3)")
    kind = GeometryKind.ESSENTIAL_MATRIX
    if len(first) < _SMALLEST_SAMPLE[kind.value]:
        return _nothing(kind, len(first))
    cv2 = _opencv()
    # One focal length for both, so that the threshold means pixels.
    focal_px = float(np.mean([camera[0, 0] for camera in cameras] + [camera[1, 1] for camera in cameras]))
    rays = [_normalized(points, camera) for points, camera in zip((first, second), cameras, strict=True)]
    matrix, mask = cv2.findEssentialMat(
        rays[0], rays[1], np.eye(3), method=cv2.USAC_MAGSAC, prob=_CONFIDENCE, threshold=threshold_px / focal_px
    )
    if matrix is None or matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        return _nothing(kind, len(first))
    is_inlier = np.asarray(mask).reshape(-1).astype(bool)
    if not is_inlier.any():
        return _nothing(kind, len(first))
    _, rotation, translation, _ = cv2.recoverPose(
        matrix, rays[0], rays[1], np.eye(3), mask=is_inlier.astype(np.uint8).reshape(-1, 1)
    )
    matrix = np.asarray(matrix, np.float64)
    residuals = _sampson(matrix, rays[0][is_inlier], rays[1][is_inlier]) * focal_px
    return VerifiedGeometry(
        kind,
        matrix,
        is_inlier,
        median_residual_px=float(np.median(residuals)),
        coverage=_coverage(first[is_inlier], image_height, image_width),
        rotation=np.asarray(rotation, np.float64),
        translation_direction=np.asarray(translation, np.float64).reshape(3),
    )


def _opencv() -> ModuleType:
    return require("cv2", install="pip install 'opencv-python-headless<5'", purpose="the verification of matches")


def _checked(
    first_px: NDArray[np.floating], second_px: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = (np.ascontiguousarray(points, np.float64) for points in (first_px, second_px))
    if first.ndim != 2 or first.shape[1:] != (2,) or first.shape != second.shape:
        raise InferenceError(f"matched points have shapes {first.shape} and {second.shape}; expected (M, 2) each")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise InferenceError("matched points hold NaN or Inf; expected finite pixels")
    return first, second


def _nothing(kind: GeometryKind, count: int) -> VerifiedGeometry:
    return VerifiedGeometry(kind, None, np.zeros(count, bool), float("nan"), 0.0)


def _transferred(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    projected = points @ matrix[:, :2].T + matrix[:, 2]
    transferred: NDArray[np.float64] = projected[:, :2] / projected[:, 2:]
    return transferred


def _normalized(points: NDArray[np.float64], camera: NDArray[np.float64]) -> NDArray[np.float64]:
    return _transferred(np.linalg.inv(camera).astype(np.float64), points)


def _coverage(points: NDArray[np.float64], height: int, width: int) -> float:
    cells = np.floor((points + 0.5) / (width, height) * _COVERAGE_CELLS).clip(0, _COVERAGE_CELLS - 1).astype(int)
    return len(np.unique(cells, axis=0)) / _COVERAGE_CELLS**2


def _sampson(
    matrix: NDArray[np.float64], first: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float64]:
    """First-order distance of each pair from the epipolar constraint (Hartley and Zisserman, section 11.4.3)."""
    ones = np.ones((len(first), 1))
    first, second = np.hstack((first, ones)), np.hstack((second, ones))
    lines, back = first @ matrix.T, second @ matrix
    error = (second * lines).sum(axis=1)
    scale = (lines[:, :2] ** 2).sum(axis=1) + (back[:, :2] ** 2).sum(axis=1)
    distances: NDArray[np.float64] = np.abs(error) / np.sqrt(np.maximum(scale, 1e-300))
    return distances


def _homography_covariance(
    matrix: NDArray[np.float64], first: NDArray[np.float64], residuals: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Of the eight free elements, to first order: the residuals' noise through the pseudo-inverse of the Jacobian.

    Noise is taken to be in the second image alone, equal in x and y (Hartley and Zisserman, section 5.2.1).
    """
    count = len(first)
    if count < 5:
        return None
    x, y = first.T
    depth = matrix[2, 0] * x + matrix[2, 1] * y + 1.0
    u, v = _transferred(matrix, first).T
    jacobian = np.zeros((2 * count, 8))
    jacobian[0::2, 0:3] = jacobian[1::2, 3:6] = np.stack((x, y, np.ones(count)), axis=1) / depth[:, np.newaxis]
    jacobian[0::2, 6:8] = np.stack((-u * x, -u * y), axis=1) / depth[:, np.newaxis]
    jacobian[1::2, 6:8] = np.stack((-v * x, -v * y), axis=1) / depth[:, np.newaxis]
    variance = float((residuals**2).sum()) / (2 * count - 8)
    # Columns differ by many orders of magnitude: scaled to unit length, the inversion keeps its digits.
    lengths = np.linalg.norm(jacobian, axis=0)
    if not (lengths > 0).all():
        return None
    inverse = np.linalg.pinv(jacobian / lengths) / lengths[:, np.newaxis]
    covariance: NDArray[np.float64] = variance * inverse @ inverse.T
    return covariance
