"""From matches with tiles to positions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from gps_denied_inference.cli.demonstration.live import LiveRun
from gps_denied_inference.cli.demonstration.localization import Localization
from gps_denied_inference.cli.demonstration.measurement import RecordedFrame, RecordedMatch, Recording
from gps_denied_inference.core.errors import ReplayError
from gps_denied_inference.core.evaluation import (
    FrameOutcome,
    NodeAccounting,
    NotRefined,
    RefinementLog,
    RefinementScore,
    score_refinement,
)
from gps_denied_inference.core.flight import NadirCamera
from gps_denied_inference.core.index import TileFeatures, TileIndex, TileMatch, image_center_m
from gps_denied_inference.core.pipeline import FrameCounts

__all__ = ["best_tile", "refined_position_m", "refinement_score"]


def best_tile(frame: RecordedFrame, recording: Recording, index: TileIndex) -> TileMatch:
    """Return the first candidate that the node published; of a frame that it dropped, what it would have found.

    Raises:
        ReplayError: its candidates are of another index.
    """
    place = recording.places.get(frame.stamp_ns)
    if place is None or not place.candidates:
        return index.search(frame.values, frame.space_id)[0]
    if place.index_sha256 != index.sha256:
        raise ReplayError(f"the candidates are of the index {place.index_sha256}, not of {index.sha256}; run again")
    first = place.candidates[0]
    return TileMatch(first.tile, first.x_m, first.y_m, first.heading_deg, first.similarity)


def refined_position_m(
    stamp_ns: int,
    log: RefinementLog,
    match: RecordedMatch | None,
    index: TileIndex,
    features: TileFeatures,
    *,
    camera: NadirCamera,
    minimum_inliers: int,
) -> tuple[float, float] | NotRefined:
    """Return where the centre of a frame lies by the homography to its tile, or why that is not known.

    Raises:
        ReplayError: it was matched with the tile of another index.
    """
    if match is None:
        return _missing(stamp_ns, log)
    if match.index_sha256 != index.sha256:
        raise ReplayError(f"a frame was matched with a tile of {match.index_sha256}, not of {index.sha256}; run again")
    if match.geometry.matrix is None or match.geometry.inlier_count < minimum_inliers:
        return NotRefined.TOO_FEW_INLIERS
    x_m, y_m = image_center_m(
        match.geometry.matrix,
        index,
        features,
        match.tile,
        image_height=camera.height_px,
        image_width=camera.width_px,
    )
    return NotRefined.TOO_FEW_INLIERS if math.isnan(x_m) else (x_m, y_m)


def _missing(stamp_ns: int, log: RefinementLog) -> NotRefined:
    if stamp_ns not in log.featured:
        return NotRefined.NO_FEATURES
    if stamp_ns not in log.candidates:
        return NotRefined.NO_CANDIDATES
    if stamp_ns not in log.ranked:
        return NotRefined.SKIPPED
    return NotRefined.NOT_MATCHED if log.ranked[stamp_ns] else NotRefined.REFUSED


def refinement_score(
    frames: Sequence[FrameOutcome], live: LiveRun, recording: Recording, localization: Localization
) -> RefinementScore:
    """Score the frames, and count what every node did.

    Args:
        frames: the published ones.
    """
    ranked = {stamp: rows for stamp, rows in live.refinement.ranked.items() if rows}
    changed = sum(
        stamp in recording.places and recording.places[stamp].candidates[0].tile != rows[0]
        for stamp, rows in ranked.items()
    )
    return score_refinement(
        ((frame.error_m, frame.refined_error_m, frame.not_refined) for frame in frames),
        reranked_frames=len(ranked),
        changed_frames=changed,
        nodes=_nodes(live.frames_in, live.counts.published, live.refinement_counts, localization),
    )


def _nodes(
    images: int, descriptors: int, counts: Mapping[str, FrameCounts], localization: Localization
) -> tuple[NodeAccounting, ...]:
    topics = localization.topics
    features = counts.get(topics.features_health)
    names = (
        ("local features of the images", topics.features_health, images),
        ("candidates of the descriptors", topics.tasks[0], descriptors),
        ("matches of the features", topics.tasks[1], 0 if features is None else features.published),
    )
    return tuple(
        NodeAccounting(
            name,
            sent,
            counts[key].received,
            counts[key].published,
            {reason.value: count for reason, count in counts[key].dropped.items() if count},
            counts[key].pending,
        )
        for name, key, sent in names
        if key in counts
    )
