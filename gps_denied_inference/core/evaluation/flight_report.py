"""Everything that the report of a flight shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import StageTimings
from gps_denied_inference.core.evaluation.accounting import ReplayAccounting
from gps_denied_inference.core.evaluation.heat_episode import HeatEpisode
from gps_denied_inference.core.evaluation.percentiles import Percentiles
from gps_denied_inference.core.evaluation.refinement import NotRefined, RefinementScore
from gps_denied_inference.core.evaluation.retrieval import RetrievalScore
from gps_denied_inference.core.evaluation.runtime_agreement import RuntimeAgreement
from gps_denied_inference.core.evaluation.samples import HealthSample, ThermalSample

__all__ = ["FlightReport", "FrameOutcome", "ImagePair", "MapPicture", "RunFacts"]


@dataclass(frozen=True, slots=True)
class FrameOutcome:
    """One published frame.

    Attributes:
        time_s: of its stamp, since the flight's first frame.
        true_m: where it was taken (x, y), map frame.
        retrieved_m: centre of its best tile.
        similarity: cosine of that tile.
        error_m: distance of the two.
        is_recalled: the error is within the bound.
        timings: of the node's stages.
        latency_ms: image handed to DDS → descriptor received.
        refined_m: centre of the image by the homography to its best tile; None when it was not refined.
        refined_error_m: its distance from the truth; None likewise.
        inlier_count: matches that agree on that homography; 0 without matches.
        not_refined: why it was not; None when it was.
    """

    time_s: float
    true_m: tuple[float, float]
    retrieved_m: tuple[float, float]
    similarity: float
    error_m: float
    is_recalled: bool
    timings: StageTimings
    latency_ms: float
    refined_m: tuple[float, float] | None = None
    refined_error_m: float | None = None
    inlier_count: int = 0
    not_refined: NotRefined | None = None


@dataclass(frozen=True, slots=True)
class MapPicture:
    """The map.

    Attributes:
        jpeg: north up.
        width_m, height_m: that it covers; origin of the map frame at its south-west corner.
    """

    jpeg: bytes
    width_m: float
    height_m: float


@dataclass(frozen=True, slots=True)
class ImagePair:
    """A frame beside the tile that was found for it.

    Attributes:
        caption: what to know of it.
        frame_jpeg, tile_jpeg: the images.
        is_recalled: the tile is right.
    """

    caption: str
    frame_jpeg: bytes
    tile_jpeg: bytes
    is_recalled: bool


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What ran, and how.

    Attributes:
        model, weights_sha256, space_id, runtime, precision, device, provider, fallback_reason: as in ModelInfo.
        is_gated: the engine passed the gate.
        cold_start_s: start of the node's process → active.
        tile_positions, tile_headings: size of the map's index.
        tile_side_m: shorter side of a tile; recall is within half of it.
        tile_stride_m: distance of neighbouring tile centres (x, y).
        frame_rate_hz: of the camera.
        duration_s: of the flight.
        track_length_m: of the flight.
        heading_octants: of the compass that the flight's nose pointed into, of 8.
        disturbances: what was done to the images, in words.
        machine: processor and number of cores.
        created: date and time.
        version: of this package.
    """

    model: str
    weights_sha256: str
    space_id: str
    runtime: str
    precision: str
    device: str
    provider: str
    fallback_reason: str
    is_gated: bool
    cold_start_s: float
    tile_positions: int
    tile_headings: int
    tile_side_m: float
    tile_stride_m: tuple[float, float]
    frame_rate_hz: float
    duration_s: float
    track_length_m: float
    heading_octants: int
    disturbances: str
    machine: str
    created: str
    version: str


@dataclass(frozen=True, slots=True, eq=False)
class FlightReport:
    """The whole report.

    Attributes:
        facts: what ran.
        accounting: where every frame went.
        frames: the published ones, by stamp.
        true_track_m: every frame's true position, published or not.
        score: with the trained weights.
        random_score: the same network, tiles and frames with random weights.
        refinement: positions by re-ranking and matching.
        agreement: of the runtime that flew with the baseline.
        latency_ms: image handed to DDS → descriptor received, per frame.
        node_latency_ms: reception → end of postprocessing inside the node, per frame.
        node_overhead_ms: `latency_ms` less the network's own time, per frame: both ways over DDS, decoding,
            preprocessing, postprocessing and every wake-up.
        similarity: cosines between all published descriptors, shape (N, N).
        health, thermal: over time.
        map_picture: the orthophoto.
        pairs: examples.
        problems: bounds that were missed, in words; empty when the run passed.
        heat: the heat episode; None when there was none.
    """

    facts: RunFacts
    accounting: ReplayAccounting
    frames: tuple[FrameOutcome, ...]
    true_track_m: tuple[tuple[float, float], ...]
    score: RetrievalScore
    random_score: RetrievalScore
    refinement: RefinementScore
    agreement: RuntimeAgreement
    latency_ms: Percentiles
    node_latency_ms: Percentiles
    node_overhead_ms: Percentiles
    similarity: NDArray[np.float32]
    health: tuple[HealthSample, ...]
    thermal: tuple[ThermalSample, ...]
    map_picture: MapPicture
    pairs: tuple[ImagePair, ...]
    problems: tuple[str, ...]
    heat: HeatEpisode | None = None
