"""`gdi demo`: the whole thing on real pixels, over real DDS."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from gps_denied_inference.cli.console import say, say_json, table
from gps_denied_inference.cli.demonstration.plan import DemoPlan, quick_plan
from gps_denied_inference.cli.demonstration.run import run_demo
from gps_denied_inference.core.evaluation import FlightReport, HeatEpisode, RefinementScore, json_report

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "demo",
        help="fly over a real orthophoto, replay the flight to the node, report",
        description="Flies a virtual nadir camera over a real orthophoto, describes the map's tiles, "
        "starts the nodes for descriptors, local features, place recognition and matching as processes of their own, "
        "replays the flight to them over DDS, ranks the candidates of frames again, matches them with the best tile, "
        "and writes report.html and report.json with the positions by both. Ends with status 1 when recall, error or "
        "accounting miss their bounds.",
    )
    parser.add_argument("--output", type=Path, default=Path("build/demo"), help="folder (default build/demo)")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes; recall is not judged")
    parser.add_argument("--json", action="store_true", help="the report on stdout, one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the demo. Returns 1 when a bound was missed."""
    start = time.monotonic()
    report = run_demo(options.output, quick_plan() if options.quick else DemoPlan())
    if options.json:
        say_json(json_report(report))
    else:
        say("")
        say(table(_rows(report, time.monotonic() - start)))
        say(f"\nreport: {options.output / 'report.html'}   figures: {options.output / 'report.json'}")
    for problem in report.problems:
        print(f"gdi demo: {problem}", file=sys.stderr)
    return 1 if report.problems else 0


def _rows(report: FlightReport, duration_s: float) -> list[tuple[str, str]]:
    facts, accounting, score = report.facts, report.accounting, report.score
    dropped = ", ".join(f"{reason} {count}" for reason, count in accounting.frames_dropped.items() if count) or "none"
    latency, overhead = report.latency_ms, report.node_overhead_ms
    return [
        ("frames sent → published", f"{accounting.frames_in} → {accounting.frames_published}"),
        ("dropped", dropped),
        ("lost in transport", str(accounting.frames_lost_in_transport)),
        ("recall@1", f"{score.recall_at_1:.3f} within {score.within_m:.1f} m"),
        ("recall@1, random weights", f"{report.random_score.recall_at_1:.3f}"),
        ("median error, best tile", f"{score.median_error_m:.1f} m"),
        ("median error, refined", _refined(report.refinement)),
        ("latency p50 / p95 / p99", f"{latency.p50:.1f} / {latency.p95:.1f} / {latency.p99:.1f} ms"),
        ("of it, not the network", f"{overhead.p50:.1f} / {overhead.p95:.1f} ms (p50 / p95)"),
        (
            f"agreement with {report.agreement.baseline}",
            f"cosine ≥ {report.agreement.cosine_min:.6f}, {report.agreement.speed_up:.1f} times its speed",
        ),
        *([] if report.heat is None else [("heat episode", _heat(report.heat))]),
        ("cold start", f"{facts.cold_start_s:.1f} s"),
        ("runtime", f"{facts.runtime}, {facts.precision} on {facts.device}"),
        ("took", f"{duration_s:.0f} s"),
    ]


def _refined(score: RefinementScore) -> str:
    return (
        f"{score.median_error_m:.1f} m on {score.refined_frames} of {score.frames} frames, their best tiles "
        f"{score.retrieved_median_error_m:.1f} m"
    )


def _heat(episode: HeatEpisode) -> str:
    lowest = max((sample.rung for sample in episode.ladder), default=0)
    latencies = " → ".join(f"{figures.latency_p50_ms:.0f}" for figures in episode.figures() if figures.frames)
    last = episode.ladder[-1].rung if episode.ladder else 0
    return f"rung 0 → {lowest} → {last} of {len(episode.rungs) - 1}; latency p50 {latencies} ms from the top down"
