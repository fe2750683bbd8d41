"""What is aimed at, and whether it was reached: read off the reports of a run."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gps_denied_inference.cli.benchmarks.measurement import Comparison, PartReport, Role, Row

__all__ = ["TARGETS", "Target", "targets_text"]

_Value = Callable[[Comparison, Row], float]


@dataclass(frozen=True, slots=True)
class Target:
    """One line of the table.

    Attributes:
        what: is aimed at.
        case: of the comparison that tells; the start of it.
        value: of a row in it.
        limit: the largest value that reaches the target, or the smallest where `is_least`.
        unit: of both.
        is_least: more is better.
    """

    what: str
    case: str
    value: _Value
    limit: float
    unit: str
    is_least: bool = False

    def line(self, comparison: Comparison) -> str:
        """Return the table's line."""
        ours, naive = (_row(comparison, role) for role in (Role.OURS, Role.BASELINE))
        measured = math.nan if ours is None else self.value(comparison, ours)
        reaches = operator.ge if self.is_least else operator.le
        verdict = "reached" if reaches(measured, self.limit) else "missed"
        beside = "–" if naive is None else self._shown(self.value(comparison, naive))
        sign = "≥" if self.is_least else "≤"
        return f"| {self.what} | {sign} {self._shown(self.limit)} | {self._shown(measured)} | {beside} | {verdict} |"

    def _shown(self, value: float) -> str:
        return f"{value:.3g} {self.unit}" if math.isfinite(value) else "–"


def _row(comparison: Comparison, role: Role) -> Row | None:
    return next((row for row in comparison.rows if row.role is role), None)


def _ratio(comparison: Comparison, row: Row) -> float:
    return comparison.ratio(row)


def _median(_comparison: Comparison, row: Row) -> float:
    return row.median


def _fact(name: str) -> _Value:
    return lambda _comparison, row: row.facts.get(name, math.nan)


def _answered(_comparison: Comparison, row: Row) -> float:
    return 100.0 * row.facts.get("received", math.nan) / row.facts.get("sent", math.nan)


_WHOLE = "1920x1080 rgb8 at 30 Hz"

TARGETS = (
    Target("take → numpy, 1080p", "1080p rgb8", _ratio, 2.0, "× memcpy"),
    Target("stamp → published less the model, p50", _WHOLE, _median, 4.0, "ms"),
    Target("the same, p95", _WHOLE, _fact("p95"), 7.0, "ms"),
    Target("frames answered", _WHOLE, _answered, 100.0, "%", is_least=True),
    Target("the node alone", "the node alone", _median, 2.5, "ms"),
    Target("CPU beside the model", _WHOLE, _fact("cpu_percent_beside_model"), 9.0, "% of a core"),
    Target("fill and publish 8,448 floats", "fill and publish, 8448", _median, 0.02, "ms"),
    Target("fill and publish 262,144 floats", "fill and publish, 262144", _median, 0.15, "ms"),
    Target("onnx_trt_ep on the CPU", "onnx_trt_ep, FP32 on the CPU", _ratio, 1.03, "× session.run"),
    Target("pytorch_fp16 on a GPU, ViT-S/14", "pytorch_fp16, dinov2_vits14", _ratio, 1.10, "× graph and copies"),
    Target("1080p frame → descriptor on a GPU", "1920x1080 rgb8 frame", _ratio, 1.15, "× its limit"),
    Target("p95 of the age at 1.5 × overload", "1.5 times overload", _ratio, 2.0, "× inference"),
    Target("p95 of the age at 3 × overload", "3 times overload", _ratio, 2.0, "× inference"),
    Target("process start → active", "process start", _median, 2.5, "s"),
    Target("of which imports", "process start", _fact("imports_s"), 1.0, "s"),
    Target("growth over 10,000 frames, in its scatter", "resident memory", _fact("growth_in_scatter"), 3.0, "×"),
    Target("idle", "no images", _median, 1.0, "% of a core"),
    Target("first frame to the p99 of the others", "first frame", _ratio, 1.5, "×"),
)


def targets_text(parts: Sequence[PartReport]) -> str:
    """Return the table of the targets that these reports tell of, as Markdown; empty when they tell of none."""
    comparisons = [comparison for part in parts for comparison in part.comparisons]
    lines = [
        target.line(comparison)
        for target in TARGETS
        for comparison in comparisons
        if comparison.case.startswith(target.case)
    ]
    if not lines:
        return ""
    return "\n".join(["| what | target | measured | naive | |", "|---|---|---|---|---|", *lines]) + "\n"
