"""What connects two images: matches of local features, and the geometry that they agree on."""

from gps_denied_inference.core.matching.nearest_neighbors import match_mutual_nearest
from gps_denied_inference.core.matching.network_inputs import (
    CorrespondenceInputs,
    correspondence_inputs,
    feature_matcher_inputs,
)
from gps_denied_inference.core.matching.network_outputs import correspondences_from_outputs, matches_from_outputs
from gps_denied_inference.core.matching.verification import (
    GeometryKind,
    VerifiedGeometry,
    verify_essential_matrix,
    verify_homography,
)

__all__ = [
    "CorrespondenceInputs",
    "GeometryKind",
    "VerifiedGeometry",
    "correspondence_inputs",
    "correspondences_from_outputs",
    "feature_matcher_inputs",
    "match_mutual_nearest",
    "matches_from_outputs",
    "verify_essential_matrix",
    "verify_homography",
]
