"""From what was recorded to the report."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference import __version__
from gps_denied_inference.cli.demonstration.embedding import NetworkEmbedding
from gps_denied_inference.cli.demonstration.flight_bag import IMAGE_TOPIC
from gps_denied_inference.cli.demonstration.live import LiveRun
from gps_denied_inference.cli.demonstration.localization import Localization
from gps_denied_inference.cli.demonstration.measurement import RecordedFrame, Recording
from gps_denied_inference.cli.demonstration.plan import DemoPlan
from gps_denied_inference.cli.demonstration.refine import best_tile, refined_position_m, refinement_score
from gps_denied_inference.core.evaluation import (
    FlightReport,
    FrameOutcome,
    HeatEpisode,
    ImagePair,
    MapPicture,
    NotRefined,
    RefinementScore,
    ReplayAccounting,
    RetrievalScore,
    RunFacts,
    RuntimeAgreement,
    heading_octants,
    percentiles,
    position_errors_m,
    score_retrieval,
    self_similarity,
)
from gps_denied_inference.core.flight import Orthophoto, TileGrid, render_tile
from gps_denied_inference.core.index import TileFeatures, TileIndex, TileMatch
from gps_denied_inference.core.optional import require
from gps_denied_inference.core.replay import BagReader

__all__ = ["evaluate", "missed_bounds"]

_MAP_WIDTH_PX = 1100
_PAIRS = 5
_DISTURBANCES = (
    "exposure ±28 %, gamma 0.70–1.43, colour cast ±14 %, haze 4–24 %, vignetting 36 %, motion blur up to 8 px, "
    "read and shot noise, JPEG quality 30–60, height ±12 %, pitch and roll ±2°"
)


def evaluate(
    plan: DemoPlan,
    grid: TileGrid,
    orthophoto: Orthophoto,
    flight_bag: Path,
    truth: Mapping[int, tuple[float, float]],
    map_files: tuple[TileIndex, TileFeatures],
    random: NetworkEmbedding,
    agreement: RuntimeAgreement,
    live: LiveRun,
    localization: Localization,
    recording: Recording,
    heat: HeatEpisode,
) -> FlightReport:
    """Put the position of every published frame, and the report, together.

    Args:
        truth: true positions by stamp.
        map_files: that the nodes had.
        random: what the network with random weights made of map and frames.
        agreement: of the runtime that flew with the baseline.
        localization: the nodes behind the first one.
        heat: the heat episode.
    """
    index, features = map_files
    within_m = grid.side_m / 2
    latency_of = live.latency_by_stamp_ms()
    first_ns = min(truth)
    frames = []
    matches: list[TileMatch] = []
    recorded = sorted(recording.frames, key=lambda frame: frame.stamp_ns)
    for frame in recorded:
        match = best_tile(frame, recording, index)
        matches.append(match)
        stamp_ns = frame.stamp_ns
        outcome = _outcome(frame, match, truth[stamp_ns], first_ns, within_m, latency_of[stamp_ns])
        matched = recording.matches.get(stamp_ns)
        refined = refined_position_m(
            stamp_ns,
            live.refinement,
            matched,
            index,
            features,
            camera=plan.flight.camera,
            minimum_inliers=plan.minimum_inliers,
        )
        inliers = 0 if matched is None else matched.geometry.inlier_count
        frames.append(_with_refinement(outcome, refined, inliers))
    refinement = refinement_score(frames, live, recording, localization)
    score = score_retrieval(np.array([frame.error_m for frame in frames]), within_m)
    random_score = _score_of_frames(random.index, random.frames, truth, within_m)
    overhead = [frame.latency_ms - frame.timings.infer_ms for frame in frames]
    accounting = _accounting(live, recorded)
    track = [truth[stamp] for stamp in sorted(truth)]
    return FlightReport(
        facts=_facts(plan, grid, track, live, recording),
        accounting=accounting,
        frames=tuple(frames),
        true_track_m=tuple(track),
        score=score,
        random_score=random_score,
        refinement=refinement,
        agreement=agreement,
        latency_ms=percentiles([frame.latency_ms for frame in frames]),
        node_latency_ms=percentiles([frame.timings.total_ms for frame in frames]),
        node_overhead_ms=percentiles(overhead),
        similarity=self_similarity(np.stack([frame.values for frame in recorded])),
        health=tuple(recording.health),
        thermal=tuple(recording.thermal),
        map_picture=_map_picture(orthophoto),
        pairs=_pairs(flight_bag, orthophoto, grid, frames, recorded, matches),
        problems=(
            *missed_bounds(plan, accounting, score, random_score, refinement, agreement, live),
            *heat.problems(judges_steps=plan.heat.judges_steps),
        ),
        heat=heat,
    )


def _outcome(
    frame: RecordedFrame,
    match: TileMatch,
    true_m: tuple[float, float],
    first_ns: int,
    within_m: float,
    latency_ms: float,
) -> FrameOutcome:
    error_m = float(position_errors_m([(match.x_m, match.y_m)], [true_m])[0])
    return FrameOutcome(
        time_s=(frame.stamp_ns - first_ns) / 1e9,
        true_m=true_m,
        retrieved_m=(match.x_m, match.y_m),
        similarity=match.similarity,
        error_m=error_m,
        is_recalled=error_m <= within_m,
        timings=frame.timings,
        latency_ms=latency_ms,
    )


def _with_refinement(
    outcome: FrameOutcome, refined: tuple[float, float] | NotRefined, inlier_count: int
) -> FrameOutcome:
    if isinstance(refined, NotRefined):
        return replace(outcome, not_refined=refined, inlier_count=inlier_count)
    error_m = float(position_errors_m([refined], [outcome.true_m])[0])
    return replace(outcome, refined_m=refined, refined_error_m=error_m, inlier_count=inlier_count)


def _score_of_frames(
    index: TileIndex,
    frames: Mapping[int, NDArray[np.float32]],
    truth: Mapping[int, tuple[float, float]],
    within_m: float,
) -> RetrievalScore:
    best = [index.search(values, index.space_id)[0] for values in frames.values()]
    errors = position_errors_m([(match.x_m, match.y_m) for match in best], [truth[stamp] for stamp in frames])
    return score_retrieval(errors, within_m)


def _accounting(live: LiveRun, recorded: list[RecordedFrame]) -> ReplayAccounting:
    counts = live.counts
    return ReplayAccounting(
        frames_in=live.frames_in,
        frames_received=counts.received,
        frames_published=counts.published,
        frames_dropped={reason.value: count for reason, count in counts.dropped.items()},
        frames_pending=counts.pending,
        messages_recorded=len({frame.stamp_ns for frame in recorded}),
    )


def missed_bounds(
    plan: DemoPlan,
    accounting: ReplayAccounting,
    score: RetrievalScore,
    random_score: RetrievalScore,
    refinement: RefinementScore,
    agreement: RuntimeAgreement,
    live: LiveRun,
) -> list[str]:
    """Return what the run did not live up to, in words; empty when it passed. NaN never passes."""
    problems = [*accounting.violations(), *refinement.violations()]
    if not agreement.cosine_min >= plan.minimum_agreement:
        problems.append(
            f"{agreement.flown} and {agreement.baseline} disagree: cosine {agreement.cosine_min:.6f} on one frame, "
            f"below {plan.minimum_agreement:g}"
        )
    if not accounting.frames_published >= plan.minimum_published_share * accounting.frames_in:
        problems.append(
            f"{accounting.frames_published} of {accounting.frames_in} frames were published, expected a share of at "
            f"least {plan.minimum_published_share:g}; end what else keeps this computer busy, and look at the drops by "
            "reason"
        )
    if live.interruption:
        problems.append(f"the replay was interrupted: {live.interruption}")
    if live.exit_status != 0:
        problems.append(f"the node ended with status {live.exit_status} after SIGINT")
    problems += [f"{name} ended with status {status} after SIGINT" for name, status in live.failed_nodes.items()]
    if not refinement.coverage >= plan.minimum_coverage:
        problems.append(
            f"{refinement.refined_frames} of {refinement.frames} frames were refined, expected a share of at least "
            f"{plan.minimum_coverage:g}"
        )
    if plan.minimum_coverage and not (
        refinement.median_error_m <= plan.maximum_refined_share * refinement.retrieved_median_error_m
    ):
        problems.append(
            f"the refined positions' median error is {refinement.median_error_m:.2f} m, that of the same frames' best "
            f"tiles {refinement.retrieved_median_error_m:.2f} m; expected at most {plan.maximum_refined_share:g} of it"
        )
    if not score.recall_at_1 >= plan.minimum_recall_at_1:
        problems.append(f"recall@1 is {score.recall_at_1:.3f}, below {plan.minimum_recall_at_1:g}")
    gain = score.recall_at_1 - random_score.recall_at_1
    if not gain >= plan.minimum_gain:
        problems.append(
            f"recall@1 is only {gain:.3f} above that of random weights ({random_score.recall_at_1:.3f}); the flight is "
            f"too easy, expected at least {plan.minimum_gain:g}"
        )
    return problems


def _facts(
    plan: DemoPlan,
    grid: TileGrid,
    track: list[tuple[float, float]],
    live: LiveRun,
    recording: Recording,
) -> RunFacts:
    info = recording.model_info
    points = np.asarray(track)
    return RunFacts(
        model=str(info.model),
        weights_sha256=str(info.weights_sha256),
        space_id=str(info.space_id),
        runtime=str(info.runtime),
        precision=str(info.effective_precision),
        device=str(info.effective_device),
        provider=str(info.provider),
        fallback_reason=str(info.fallback_reason),
        is_gated=bool(info.is_gated),
        cold_start_s=live.cold_start_s,
        tile_positions=grid.positions,
        tile_headings=grid.headings,
        tile_side_m=grid.side_m,
        tile_stride_m=grid.stride_m,
        frame_rate_hz=plan.flight.rate_hz,
        duration_s=plan.flight.duration_s,
        track_length_m=float(np.hypot(*np.diff(points, axis=0).T).sum()),
        heading_octants=heading_octants(_headings(track)),
        disturbances=_DISTURBANCES,
        machine=f"{_processor()}, {len(os.sched_getaffinity(0))} cores",
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
    )


def _headings(track: list[tuple[float, float]]) -> list[float]:
    steps = np.diff(np.asarray(track), axis=0)
    return [float(heading) for heading in np.degrees(np.arctan2(steps[:, 0], steps[:, 1])) % 360.0]


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()


def _map_picture(orthophoto: Orthophoto) -> MapPicture:
    cv2 = require("cv2", install="pip install 'opencv-python-headless<5'", purpose="the report's map")
    height, width = orthophoto.image_rgb.shape[:2]
    scale = min(1.0, _MAP_WIDTH_PX / width)
    small = cv2.resize(
        orthophoto.image_rgb, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA
    )
    return MapPicture(_jpeg(small, 82), orthophoto.width_m, orthophoto.height_m)


def _pairs(
    flight_bag: Path,
    orthophoto: Orthophoto,
    grid: TileGrid,
    frames: list[FrameOutcome],
    recorded: list[RecordedFrame],
    matches: list[TileMatch],
) -> tuple[ImagePair, ...]:
    """Frames evenly spaced over the flight; the worst one takes the place of the last."""
    chosen = [round(index * (len(frames) - 1) / _PAIRS) for index in range(_PAIRS)]
    worst = int(np.argmax([frame.error_m for frame in frames]))
    chosen = sorted({*chosen[: _PAIRS - 1], worst})
    wanted = {recorded[index].stamp_ns: index for index in chosen}
    jpegs: dict[int, bytes] = {}
    with BagReader(flight_bag) as reader:
        for image in reader.images(reader.choose_image_topic(IMAGE_TOPIC)):
            frame = reader.frame(image)
            if frame.stamp_ns in wanted:
                jpegs[wanted[frame.stamp_ns]] = frame.data.tobytes()
    pairs = []
    for index in chosen:
        tile = render_tile(orthophoto, grid, grid.views[matches[index].tile])
        outcome = frames[index]
        label = "worst frame, " if index == worst else ""
        caption = f"{label}t = {outcome.time_s:.1f} s, error {outcome.error_m:.1f} m, cosine {outcome.similarity:.2f}"
        if outcome.refined_error_m is not None:
            caption += f"; refined {outcome.refined_error_m:.1f} m by {outcome.inlier_count} inliers"
        pairs.append(ImagePair(caption, jpegs[index], _jpeg(tile, 85), outcome.is_recalled))
    return tuple(pairs)


def _jpeg(image_rgb: NDArray[np.uint8], quality: int) -> bytes:
    cv2 = require("cv2", install="pip install 'opencv-python-headless<5'", purpose="the report's pictures")
    _, encoded = cv2.imencode(".jpg", np.ascontiguousarray(image_rgb[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(encoded)
