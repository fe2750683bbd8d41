"""The report of a run: `report.json` and the same as text."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gps_denied_inference import __version__
from gps_denied_inference.cli.benchmarks.measurement import BenchPlan, PartReport, Role
from gps_denied_inference.cli.benchmarks.targets import targets_text

__all__ = ["machine", "problems_of", "text_of", "write_report", "write_tables"]

_PACKAGES = ("torch", "onnxruntime", "numpy", "ros-jazzy-rclpy")


def machine(device: str) -> dict[str, str]:
    """What was measured on."""
    facts = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cores": str(len(os.sched_getaffinity(0))),
        "cpu": _cpu(),
        "load_at_start": f"{os.getloadavg()[0]:.2f}",
        "python": platform.python_version(),
        "gps_denied_inference": __version__,
    }
    for package in _PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            continue
    if device != "cpu":
        import torch

        facts["gpu"] = torch.cuda.get_device_name(0)
    return facts


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def problems_of(parts: Sequence[PartReport]) -> list[str]:
    """Every limit or baseline that is missing; a report with one is no evidence."""
    return [text for part in parts for text in part.problems()]


def write_report(parts: Sequence[PartReport], plan: BenchPlan, facts: dict[str, str], failures: Sequence[str]) -> Path:
    """Write `report.json` into the plan's folder.

    Args:
        parts: that were measured.
        plan: of the run.
        facts: of the machine.
        failures: parts that could not be measured, in sentences.
    """
    document: dict[str, Any] = {
        "machine": facts,
        "repetitions": plan.repetitions,
        "warm_up": plan.warm_up,
        "problems": [*failures, *problems_of(parts)],
        "parts": [_part(part) for part in parts],
    }
    plan.output.mkdir(parents=True, exist_ok=True)
    path = plan.output / "report.json"
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path


def write_tables(parts: Sequence[PartReport], plan: BenchPlan, facts: dict[str, str]) -> Path:
    """Write `report.md`: the targets, and the table of each part."""
    title = ", ".join(f"{name} {value}" for name, value in facts.items())
    medians = f"Medians of {plan.repetitions} calls after {plan.warm_up}; ± is half the distance between the quartiles."
    sections = [f"{title}.\n\n{medians}\n", targets_text(parts), *(f"## {text_of(part)}" for part in parts)]
    path = plan.output / "report.md"
    path.write_text("\n".join(sections), encoding="utf-8")
    return path


def _part(part: PartReport) -> dict[str, Any]:
    return {
        "part": part.letter,
        "name": part.name,
        "title": part.title,
        "notes": list(part.notes),
        "comparisons": [
            {
                "case": comparison.case,
                "unit": comparison.unit,
                "target_ratio": _number(comparison.target),
                "aim": comparison.aim,
                "rows": [
                    {
                        "role": row.role.value,
                        "name": row.name,
                        "median": _number(row.median),
                        "noise": _number(row.noise),
                        "ratio": _number(comparison.ratio(row)),
                        "count": row.count,
                        "facts": {name: _number(value) for name, value in row.facts.items()},
                    }
                    for row in comparison.rows
                ],
            }
            for comparison in part.comparisons
        ],
    }


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return round(value, 6) if math.isfinite(value) else None


def text_of(part: PartReport) -> str:
    """Return a part as Markdown."""
    lines = [f"({part.letter}) {part.title}", ""]
    lines += ["| case | way | median | ± | ratio to the limit | |", "|---|---|---|---|---|---|"]
    for comparison in part.comparisons:
        case = comparison.case
        for row in comparison.rows:
            remarks = [f"{name} {value:g}" for name, value in row.facts.items() if math.isfinite(value)]
            if row.role is Role.OURS:
                target = f"target ≤ {comparison.target:g}" if math.isfinite(comparison.target) else ""
                remarks += [text for text in (target, comparison.aim) if text]
            figures = f"{row.median:.4g} {comparison.unit} | {row.noise:.2g} | {comparison.ratio(row):.2f}"
            if row.lost_every_frame:
                figures = "none answered | – | –"
            lines.append(f"| {case} | {row.role.value}: {row.name} | {figures} | {', '.join(remarks)} |")
            case = ""
    lines += [f"\nNote: {note}." for note in part.notes]
    return "\n".join(lines) + "\n"
