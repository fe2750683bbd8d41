"""`gdi bench`: what the node adds to the model, as ratios measured in one run."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import Any

from gps_denied_inference.cli.benchmarks.measurement import BenchPlan, PartReport
from gps_denied_inference.cli.benchmarks.parts import PARTS, Part
from gps_denied_inference.cli.benchmarks.report import machine, problems_of, text_of, write_report, write_tables
from gps_denied_inference.cli.benchmarks.targets import targets_text
from gps_denied_inference.cli.console import say, say_json
from gps_denied_inference.core.errors import GpsDeniedInferenceError, SettingsError
from gps_denied_inference.ros.allocator import keep_large_buffers

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parts = "; ".join(f"{part.letter} {part.name}: {part.title}" for part in PARTS)
    parser = subparsers.add_parser(
        "bench",
        help="measure what the node adds to the model",
        description="Measures each step beside its limit and beside what one would write without this package, in the "
        "same run, and writes report.json and report.md. Ends with status 1 when a part failed, or when a limit or a "
        "baseline is missing. "
        f"Parts: {parts}.",
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="names or letters of parts; all, when none is given")
    parser.add_argument("--output", type=Path, default=Path("build/bench"), help="folder (default build/bench)")
    parser.add_argument("--gpu", action="store_true", help="the parts that have something to measure on a GPU, there")
    parser.add_argument("--quick", action="store_true", help="few repetitions: shows that it runs, proves nothing")
    parser.add_argument("--json", action="store_true", help="the report on stdout, one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure. Returns 1 when the report is incomplete."""
    chosen = _chosen(options.parts, is_gpu=options.gpu)
    if options.gpu and not _has_gpu():
        reason = "no CUDA device here (or no torch that sees one): the benchmark on the GPU is skipped"
        if options.json:
            say_json({"skipped": reason})
        else:
            say(reason)
        return 0
    device = "cuda:0" if options.gpu else "cpu"
    plan = BenchPlan(options.output, device=device)
    if options.quick:
        plan = BenchPlan(options.output, repetitions=5, warm_up=1, seconds=2.0, frames=50, device=device)
    # As the node does; the naive ways profit, too, where they share this process.
    keep_large_buffers()
    facts = machine(device)
    reports: list[PartReport] = []
    failures: list[str] = []
    for part in chosen:
        try:
            report = part.measure(plan)
        except Exception as error:  # whatever breaks one part must not cost the figures of the others
            reason = str(error) if isinstance(error, GpsDeniedInferenceError) else repr(error)
            failures.append(f"part {part.letter} ({part.name}) failed: {reason}")
            continue
        reports.append(report)
        if not options.json:
            say(text_of(report))
        # After each part: an interrupted run leaves what it has.
        write_report(reports, plan, facts, failures)
        write_tables(reports, plan, facts)
    path = write_report(reports, plan, facts, failures)
    if options.json:
        say(path.read_text(encoding="utf-8").rstrip())
    else:
        say(targets_text(reports))
        say(f"report: {path}")
    problems = [*failures, *problems_of(reports)]
    for problem in problems:
        print(f"gdi bench: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _chosen(wanted: list[str], *, is_gpu: bool) -> list[Part]:
    known = [part for part in PARTS if part.has_gpu_form or not is_gpu]
    unknown = [text for text in wanted if all(text not in (part.letter, part.name) for part in known)]
    if unknown:
        names = ", ".join(f"{part.letter} ({part.name})" for part in known)
        raise SettingsError("part", unknown[0], f"one of {names}")
    return [part for part in known if not wanted or part.letter in wanted or part.name in wanted]


def _has_gpu() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())
