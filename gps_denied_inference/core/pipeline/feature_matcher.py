"""The way of two sets of local features: pairs, then the geometry that they agree on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.architectures import base_name
from gps_denied_inference.core.contracts import Correspondences, LocalFeatures, Matches, SentFeatures, StageTimings
from gps_denied_inference.core.engines import model_of_space
from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.matching import (
    VerifiedGeometry,
    match_mutual_nearest,
    verify_essential_matrix,
    verify_homography,
)
from gps_denied_inference.core.pipeline.identity import ModelIdentity

__all__ = ["FeatureMatcher", "FeaturePair", "MatchedFeatures", "Matching", "MutualNearestMatching"]


@dataclass(frozen=True, slots=True, eq=False)
class FeaturePair:
    """What is to be matched. `second` is None while nothing to compare with has come."""

    first: SentFeatures
    second: SentFeatures | None


@dataclass(frozen=True, slots=True, eq=False)
class MatchedFeatures:
    """What came of one pair.

    Attributes:
        first_stamp_ns, first_frame_id, second_stamp_ns, second_frame_id: of the images, verbatim.
        space_id: of the descriptors of both; empty for a network that took the images themselves.
        first_count, second_count: keypoints.
        matches: pairs of rows: of keypoints, or of `points`.
        geometry: from the first image to the second, and which pairs agree with it.
        timings: `infer_ms` is the matching, `postprocess_ms` the verification; of both attempts, where there were two.
        model: the network whose matches these are; None for mutual nearest neighbours.
        second_height, second_width: of the second image, pixels.
        points: of a network that took the images themselves; None where keypoints were matched.
    """

    first_stamp_ns: int
    first_frame_id: str
    second_stamp_ns: int
    second_frame_id: str
    space_id: str
    first_count: int
    second_count: int
    matches: Matches
    geometry: VerifiedGeometry
    timings: StageTimings
    model: ModelIdentity | None
    second_height: int = 0
    second_width: int = 0
    points: Correspondences | None = None


class Matching(Protocol):
    """Pairs local features: a `MatchingPipeline`, or mutual nearest neighbours."""

    @property
    def model(self) -> ModelIdentity | None: ...

    def warm_up_thread(self) -> None: ...

    def match_features(self, first: LocalFeatures, second: LocalFeatures) -> Matches: ...


class MutualNearestMatching:
    """Satisfies `Matching` without a network.

    Args:
        min_similarity, max_ratio: as of `match_mutual_nearest`; read with each pair.
    """

    model = None

    def __init__(self, *, min_similarity: Callable[[], float], max_ratio: Callable[[], float]) -> None:
        self._min_similarity = min_similarity
        self._max_ratio = max_ratio

    def warm_up_thread(self) -> None:
        """There is no network."""

    def match_features(self, first: LocalFeatures, second: LocalFeatures) -> Matches:
        return match_mutual_nearest(first, second, min_similarity=self._min_similarity(), max_ratio=self._max_ratio())


class FeatureMatcher:
    """Matches and verifies. Satisfies `Processor`; use from one thread at a time.

    Args:
        matching: pairs the features.
        threshold_px: largest noise of a true match, pixels of the second image; read with each pair.
        camera: float64, (3, 3), camera matrix of both images, whose keypoints are free of lens distortion: the
            verification looks for an essential matrix. None: for a homography.
        refinement: pairs the features once more where `matching` left fewer than `refine_below_inliers` inliers; what
            has more of them counts.
        refine_below_inliers: see there.
        clock: steady clock, nanoseconds.
    """

    def __init__(
        self,
        matching: Matching,
        *,
        threshold_px: Callable[[], float],
        camera: NDArray[np.float64] | None = None,
        refinement: Matching | None = None,
        refine_below_inliers: int = 0,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._matching = matching
        self._threshold_px = threshold_px
        self._camera = camera
        self._refinement = refinement
        self._refine_below_inliers = refine_below_inliers
        self._clock = clock

    def warm_up_thread(self) -> None:
        """Run the networks once, on the thread that will call `process`.

        Raises:
            InferenceError, OutOfMemoryError: as `process`.
        """
        for matching in (self._matching, self._refinement):
            if matching is not None:
                matching.warm_up_thread()

    def process(self, frame: FeaturePair, received_ns: int | None = None, /) -> MatchedFeatures:
        """Match a pair.

        Raises:
            InferenceError: there is no second one, the descriptors live in two spaces or are of another family than
                the network's, or the network failed.
            NonFiniteOutputError: the network returned NaN or Inf.
            OutOfMemoryError: the device is out of memory.
        """
        start_ns = self._clock()
        first, second = frame.first, frame.second
        if second is None:
            raise InferenceError(
                "nothing to compare with has come yet; publish on 'reference_features', or on 'place_candidates' where "
                "the node has tile_features"
            )
        if first.space_id != second.space_id:
            raise InferenceError(
                f"the features live in the spaces '{first.space_id}' and '{second.space_id}': they cannot be compared; "
                "make both with the same network, weights and preprocessing"
            )
        for matching in (self._matching, self._refinement):
            if matching is not None:
                _refuse_other_family(matching.model, first.space_id)
        result = self._matched(self._matching, first.features, second.features)
        model, match_ns = self._matching.model, result.match_ns
        if self._refinement is not None and result.geometry.inlier_count < self._refine_below_inliers:
            again = self._matched(self._refinement, first.features, second.features)
            match_ns += again.match_ns
            if again.geometry.inlier_count > result.geometry.inlier_count:
                result, model = again, self._refinement.model
        end_ns = self._clock()
        first_ns = start_ns if received_ns is None else received_ns
        return MatchedFeatures(
            first.stamp_ns,
            first.frame_id,
            second.stamp_ns,
            second.frame_id,
            first.space_id,
            first.features.count,
            second.features.count,
            result.matches,
            result.geometry,
            StageTimings(
                wait_ms=(start_ns - first_ns) / 1e6,
                decode_ms=0.0,
                preprocess_ms=0.0,
                infer_ms=match_ns / 1e6,
                postprocess_ms=(end_ns - start_ns - match_ns) / 1e6,
                total_ms=(end_ns - first_ns) / 1e6,
            ),
            model,
            second.features.image_height,
            second.features.image_width,
        )

    def _matched(self, matching: Matching, first: LocalFeatures, second: LocalFeatures) -> _Attempt:
        start_ns = self._clock()
        matches = matching.match_features(first, second)
        match_ns = self._clock() - start_ns
        first_px = first.keypoints_px[matches.indices[:, 0]]
        second_px = second.keypoints_px[matches.indices[:, 1]]
        size = {"image_height": first.image_height, "image_width": first.image_width}
        threshold_px = self._threshold_px()
        if self._camera is None:
            geometry = verify_homography(first_px, second_px, **size, threshold_px=threshold_px)
        else:
            geometry = verify_essential_matrix(
                first_px, second_px, self._camera, self._camera, **size, threshold_px=threshold_px
            )
        return _Attempt(matches, geometry, match_ns)


@dataclass(frozen=True, slots=True, eq=False)
class _Attempt:
    """What one matcher found, and how long the matching took."""

    matches: Matches
    geometry: VerifiedGeometry
    match_ns: int


def _refuse_other_family(model: ModelIdentity | None, space: str) -> None:
    """Descriptors of several networks have one dimension; a matcher knows only those that it was trained with."""
    if model is None or not model.spec.feature_models:
        return
    features = base_name(model_of_space(space))
    if features not in model.spec.feature_models:
        raise InferenceError(
            f"'{model.name}' matches the features of {' or '.join(model.spec.feature_models)}, these are of "
            f"'{features}' (space '{space}'); take the matcher of their family, or mutual_nearest"
        )
