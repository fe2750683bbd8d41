"""The report for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from gps_denied_inference.core.evaluation.flight_report import FlightReport
from gps_denied_inference.core.evaluation.heat_episode import HeatEpisode
from gps_denied_inference.core.evaluation.percentiles import Percentiles
from gps_denied_inference.core.evaluation.refinement import NotRefined, RefinementScore

__all__ = ["json_report"]

_DEFINITIONS = {
    "recall_at_1": "share of the published frames whose best tile's centre lies within recall_within_m of the truth",
    "median_error_refined_m": "distance between the truth and the centre of the image by the homography to its best "
    "re-ranked tile, over refined_frames; refinement.median_error_retrieved_m is that of the same frames' first tiles",
    "latency_ms": "image handed to DDS by the player → descriptor received by the recorder (one process, one clock)",
    "node_latency_ms": "reception by the node → end of postprocessing, as the node's messages say",
    "node_overhead_ms": "latency_ms less the network's own time (infer_ms), frame by frame",
    "runtime_agreement": "the flown runtime and the baseline on the same frames, in one process; cosine of the two "
    "descriptors of a frame",
    "cold_start_s": "start of the node's process → active",
}


def json_report(report: FlightReport) -> dict[str, Any]:
    """Return the figures of a report, ready for JSON but for NaN."""
    facts, accounting, score = report.facts, report.accounting, report.score
    return {
        "frames_in": accounting.frames_in,
        "frames_published": accounting.frames_published,
        "frames_dropped": dict(accounting.frames_dropped),
        "frames_lost_in_transport": accounting.frames_lost_in_transport,
        "frames_pending": accounting.frames_pending,
        "messages_recorded": accounting.messages_recorded,
        "recall_at_1": round(score.recall_at_1, 4),
        "recall_at_1_random": round(report.random_score.recall_at_1, 4),
        "recall_within_m": round(score.within_m, 2),
        "median_error_m": round(score.median_error_m, 2),
        "median_error_random_m": round(report.random_score.median_error_m, 2),
        "median_error_refined_m": round(report.refinement.median_error_m, 2),
        "refined_frames": report.refinement.refined_frames,
        "refinement": _refinement(report.refinement),
        "latency_ms": _percentiles(report.latency_ms),
        "node_latency_ms": _percentiles(report.node_latency_ms),
        "node_overhead_ms": _percentiles(report.node_overhead_ms),
        "runtime": facts.runtime,
        "runtime_agreement": {
            "baseline": report.agreement.baseline,
            "frames": report.agreement.frames,
            "cosine_min": report.agreement.cosine_min,
            "cosine_median": report.agreement.cosine_median,
            "infer_ms": _percentiles(report.agreement.flown_infer_ms),
            "baseline_infer_ms": _percentiles(report.agreement.baseline_infer_ms),
        },
        "heat_episode": None if report.heat is None else _heat(report.heat),
        "precision": facts.precision,
        "device": facts.device,
        "cold_start_s": round(facts.cold_start_s, 3),
        "passed": not report.problems,
        "problems": list(report.problems),
        "facts": asdict(facts),
        "definitions": _DEFINITIONS,
    }


def _refinement(score: RefinementScore) -> dict[str, Any]:
    return {
        "coverage": round(score.coverage, 4),
        "median_error_retrieved_m": round(score.retrieved_median_error_m, 2),
        "p90_error_refined_m": round(score.p90_error_m, 2),
        "p90_error_retrieved_m": round(score.retrieved_p90_error_m, 2),
        "reranked_frames": score.reranked_frames,
        "changed_frames": score.changed_frames,
        "not_refined": {reason.value: score.not_refined.get(reason, 0) for reason in NotRefined},
        "nodes": [{**asdict(node), "lost_in_transport": node.lost_in_transport} for node in score.nodes],
    }


def _heat(episode: HeatEpisode) -> dict[str, Any]:
    return {
        "model": episode.model,
        "frames_in": episode.accounting.frames_in,
        "frames_published": episode.accounting.frames_published,
        "frames_dropped": dict(episode.accounting.frames_dropped),
        "frames_lost_in_transport": episode.accounting.frames_lost_in_transport,
        "lowest_rung": max((sample.rung for sample in episode.ladder), default=0),
        "last_rung": episode.ladder[-1].rung if episode.ladder else 0,
        "rungs": [asdict(figures) for figures in episode.figures()],
    }


def _percentiles(values: Percentiles) -> dict[str, float]:
    return {"p50": round(values.p50, 2), "p95": round(values.p95, 2), "p99": round(values.p99, 2)}
