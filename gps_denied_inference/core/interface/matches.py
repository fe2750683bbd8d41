"""Candidates and matches, to messages and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import (
    Correspondences,
    DescribedFrame,
    DropReason,
    Matches,
    PlaceCandidate,
    PlaceRecognition,
    SentFeatures,
)
from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.interface.factory import MessageFactory
from gps_denied_inference.core.interface.incoming import (
    global_descriptor_from_message,
    local_features_from_message,
    stage_timings_from_message,
    stamp_ns_from_message,
)
from gps_denied_inference.core.matching import GeometryKind, VerifiedGeometry
from gps_denied_inference.core.pipeline import MatchedFeatures

__all__ = [
    "described_frame_from_message",
    "feature_matches_message",
    "geometry_from_message",
    "matches_from_message",
    "place_candidates_message",
    "place_recognition_from_message",
    "points_from_message",
    "sent_features_from_message",
]

_NO_POINTS = np.empty((0, 2), np.float32)


def described_frame_from_message(message: Any) -> DescribedFrame:
    """Return what a valid `GlobalDescriptor` message says; the array is a copy.

    Raises:
        InferenceError: the message says that it is not valid, or its array has another length than it claims.
    """
    return DescribedFrame(
        stamp_ns_from_message(message),
        str(message.header.frame_id),
        str(message.camera_id),
        str(message.space_id),
        global_descriptor_from_message(message).values,
    )


def sent_features_from_message(message: Any) -> SentFeatures:
    """Return what a valid `LocalFeatures` message says; the arrays are copies.

    Raises:
        InferenceError: the message says that it is not valid, or an array has another length than it claims.
    """
    return SentFeatures(
        stamp_ns_from_message(message),
        str(message.header.frame_id),
        str(message.space_id),
        local_features_from_message(message),
    )


def place_candidates_message(
    factory: MessageFactory, result: PlaceRecognition, *, dropped_since_last: Mapping[DropReason, int]
) -> Any:
    """Return the `PlaceCandidates` message of a looked-up descriptor."""
    return factory.make(
        "PlaceCandidates",
        header=factory.header(result.stamp_ns, result.frame_id),
        camera_id=result.camera_id,
        space_id=result.space_id,
        index_sha256=result.index_sha256,
        crs=result.crs,
        candidates=[
            factory.make(
                "PlaceCandidate",
                tile=candidate.tile,
                x_m=candidate.x_m,
                y_m=candidate.y_m,
                heading_deg=candidate.heading_deg,
                similarity=candidate.similarity,
            )
            for candidate in result.candidates
        ],
        rank_margin=result.rank_margin,
        timings=factory.make("StageTimings", **result.timings.as_dict()),
        dropped_since_last=_drops(factory, dropped_since_last),
    )


def place_recognition_from_message(message: Any) -> PlaceRecognition:
    """Return what a `PlaceCandidates` message says."""
    return PlaceRecognition(
        stamp_ns=stamp_ns_from_message(message),
        frame_id=str(message.header.frame_id),
        camera_id=str(message.camera_id),
        space_id=str(message.space_id),
        index_sha256=str(message.index_sha256),
        crs=str(message.crs),
        candidates=tuple(
            PlaceCandidate(
                int(candidate.tile),
                float(candidate.x_m),
                float(candidate.y_m),
                float(candidate.heading_deg),
                float(candidate.similarity),
            )
            for candidate in message.candidates
        ),
        rank_margin=float(message.rank_margin),
        timings=stage_timings_from_message(message.timings),
    )


def feature_matches_message(
    factory: MessageFactory, result: MatchedFeatures, *, dropped_since_last: Mapping[DropReason, int]
) -> Any:
    """Return the `FeatureMatches` message of a matched pair."""
    model, geometry, points = result.model, result.geometry, result.points
    is_homography = geometry.kind is GeometryKind.HOMOGRAPHY
    homography, essential_matrix = (geometry.matrix, None) if is_homography else (None, geometry.matrix)
    return factory.make(
        "FeatureMatches",
        header=factory.header(result.first_stamp_ns, result.first_frame_id),
        second_header=factory.header(result.second_stamp_ns, result.second_frame_id),
        space_id=result.space_id,
        matcher="mutual_nearest" if model is None else model.name,
        matcher_weights_sha256="" if model is None else model.weights_sha256,
        runtime="" if model is None else model.runtime_label.value,
        effective_precision="fp32" if model is None else model.configuration.effective_precision.value,
        first_count=result.first_count,
        second_count=result.second_count,
        count=result.matches.count,
        indices=factory.integers(result.matches.indices),
        scores=factory.floats(result.matches.scores),
        first_px=factory.floats(_NO_POINTS if points is None else points.first_px),
        second_px=factory.floats(_NO_POINTS if points is None else points.second_px),
        second_height=result.second_height,
        second_width=result.second_width,
        geometry=geometry.kind.value,
        is_inlier=factory.octets(geometry.is_inlier.astype(np.uint8)),
        inlier_count=geometry.inlier_count,
        median_residual_px=geometry.median_residual_px,
        coverage=geometry.coverage,
        has_homography=homography is not None,
        homography=_flat(homography, 9),
        homography_covariance=_flat(geometry.covariance, 64),
        has_essential_matrix=essential_matrix is not None,
        essential_matrix=_flat(essential_matrix, 9),
        rotation=_flat(geometry.rotation, 9),
        translation_direction=_flat(geometry.translation_direction, 3),
        timings=factory.make("StageTimings", **result.timings.as_dict()),
        dropped_since_last=_drops(factory, dropped_since_last),
    )


def matches_from_message(message: Any) -> Matches:
    """Return the pairs of a `FeatureMatches` message; the arrays are copies.

    Raises:
        InferenceError: an array has another length than the message claims.
    """
    count = int(message.count)
    return Matches(
        _array(message.indices, np.dtype(np.int32), (count, 2), "indices"),
        _array(message.scores, np.dtype(np.float32), (count,), "scores"),
    )


def points_from_message(message: Any) -> Correspondences | None:
    """Return the points of a `FeatureMatches` message; None where keypoints were matched. The arrays are copies.

    Raises:
        InferenceError: an array has another length than the message claims.
    """
    count = int(message.count)
    if not len(message.first_px) and (count or message.space_id):
        return None
    return Correspondences(
        _array(message.first_px, np.dtype(np.float32), (count, 2), "first_px"),
        _array(message.second_px, np.dtype(np.float32), (count, 2), "second_px"),
        _array(message.scores, np.dtype(np.float32), (count,), "scores"),
    )


def geometry_from_message(message: Any) -> VerifiedGeometry:
    """Return the geometry of a `FeatureMatches` message and the pairs that agree with it; the arrays are copies.

    Raises:
        InferenceError: an array has another length than the message claims, or the geometry is unknown.
    """
    is_inlier = _array(message.is_inlier, np.dtype(np.uint8), (int(message.count),), "is_inlier").astype(bool)
    try:
        kind = GeometryKind(str(message.geometry))
    except ValueError as error:
        known = " or ".join(item.value for item in GeometryKind)
        raise InferenceError(f"the geometry of the matches is '{message.geometry}'; expected {known}") from error
    is_homography = kind is GeometryKind.HOMOGRAPHY
    has_matrix = message.has_homography if is_homography else message.has_essential_matrix
    matrix = _matrix(message.homography if is_homography else message.essential_matrix, (3, 3))
    return VerifiedGeometry(
        kind,
        matrix if has_matrix else None,
        is_inlier,
        float(message.median_residual_px),
        float(message.coverage),
        _matrix(message.homography_covariance, (8, 8)),
        _matrix(message.rotation, (3, 3)),
        _matrix(message.translation_direction, (3,)),
    )


def _matrix(values: Any, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    matrix = np.array(values, np.float64).reshape(shape)
    return matrix if np.isfinite(matrix).all() else None


def _flat(values: NDArray[np.float64] | None, size: int) -> NDArray[np.float64]:
    return np.full(size, np.nan) if values is None else np.ascontiguousarray(values, np.float64).reshape(-1)


def _array(buffer: Any, dtype: np.dtype[Any], shape: tuple[int, ...], name: str) -> NDArray[Any]:
    values = np.frombuffer(buffer, dtype) if len(buffer) else np.empty(0, dtype)
    if values.size != int(np.prod(shape)):
        raise InferenceError(f"'{name}' has {values.size} elements; the message claims shape {shape}")
    return values.reshape(shape).copy()


def _drops(factory: MessageFactory, dropped: Mapping[DropReason, int]) -> list[Any]:
    return [factory.make("DropCount", reason=reason.value, count=count) for reason, count in dropped.items()]
