"""The tables of `docs/performance.md`, from reports that were kept: no number on that page is written by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gps_denied_inference.cli.benchmarks.measurement import Comparison, PartReport, Role, Row
from gps_denied_inference.cli.benchmarks.report import text_of
from gps_denied_inference.cli.benchmarks.targets import targets_text
from gps_denied_inference.core.errors import SettingsError

__all__ = ["page_with_tables", "parts_from_report"]


def page_with_tables(page: str, reports: Sequence[Path], mark: str) -> str:
    """Return the page with its tables renewed.

    Args:
        page: Markdown, with `<!-- MARK targets -->`, `<!-- MARK targets end -->` and the same for `parts`.
        reports: `report.json` files of one computer, whose parts are put together.
        mark: which tables of the page, e.g. `cpu`.

    Raises:
        SettingsError: a mark is missing.
    """
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in reports]
    parts = sorted((part for document in documents for part in parts_from_report(document)), key=lambda p: p.letter)
    targets = "\n".join(_machine(document) for document in documents) + "\n\n"
    page = _between(page, f"{mark} targets", targets + targets_text(parts))
    return _between(page, f"{mark} parts", "\n".join(f"### {text_of(part)}" for part in parts))


def _machine(document: dict[str, Any]) -> str:
    letters = ", ".join(part["part"] for part in document["parts"])
    facts = ", ".join(f"{name} {value}" for name, value in document["machine"].items())
    return f"- Parts {letters}: {facts}; medians of {document['repetitions']} calls after {document['warm_up']}."


def parts_from_report(document: dict[str, Any]) -> list[PartReport]:
    """Return the parts that a `report.json` tells of."""
    return [
        PartReport(
            part["part"],
            part["name"],
            part["title"],
            tuple(_comparison(comparison) for comparison in part["comparisons"]),
            tuple(part["notes"]),
        )
        for part in document["parts"]
    ]


def _comparison(document: dict[str, Any]) -> Comparison:
    rows = tuple(
        Row(
            Role(row["role"]),
            row["name"],
            _number(row["median"]),
            _number(row["noise"]),
            row["count"],
            {name: _number(value) for name, value in row["facts"].items()},
        )
        for row in document["rows"]
    )
    target = _number(document["target_ratio"])
    return Comparison(document["case"], document["unit"], rows, target, document["aim"])


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _between(page: str, mark: str, text: str) -> str:
    begin, end = f"<!-- {mark} -->", f"<!-- {mark} end -->"
    if begin not in page or end not in page:
        raise SettingsError("mark", mark, f"one of the page, which needs {begin} and {end}")
    head, tail = page.split(begin)[0], page.split(end)[1]
    return f"{head}{begin}\n{text.strip()}\n{end}{tail}"
