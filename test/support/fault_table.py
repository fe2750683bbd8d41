"""What came of the faults that were put to the nodes: a table in Markdown."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["FaultRow", "FaultTable"]

_HEAD = """\
# Faults and what came of them

Each line is a fault that was put to a real node process over DDS (or to a command), and what was seen. The texts are
the node's own: from `/diagnostics`, or where it is said, from its log. After each fault the process was alive, unless
the line says otherwise, and its books were balanced: received = published + dropped + pending.

`make faults` runs the faults and writes this page anew.
"""


@dataclass(frozen=True, slots=True)
class FaultRow:
    """One fault.

    Attributes:
        group: what was broken, as a heading.
        fault: how it was broken.
        expected: what had to happen.
        observed: texts that were seen.
        recovery: how the node came back, or why it could not.
    """

    group: str
    fault: str
    expected: str
    observed: str
    recovery: str


class FaultTable:
    """Collects the rows of a module of tests and puts them into the table of all.

    Modules may run in several processes: each keeps its rows in a file of its own, and makes the table anew of all
    files there are, so that the last one makes it whole.

    Args:
        page: the table; the rows lie in a folder of the same name.
        module: whose rows these are.
    """

    def __init__(self, page: Path, module: str) -> None:
        self._page = page
        self._rows_path = page.with_suffix("") / f"{module}.json"
        self._rows: list[FaultRow] = []

    def add(self, row: FaultRow) -> None:
        self._rows.append(row)

    def write(self) -> None:
        """Keep the rows and write the table, unless there is nothing to write."""
        if not self._rows:
            return
        self._rows_path.parent.mkdir(parents=True, exist_ok=True)
        _replace(self._rows_path, json.dumps([asdict(row) for row in self._rows]))
        paths = sorted(self._rows_path.parent.glob("*.json"))
        rows = [FaultRow(**row) for path in paths for row in json.loads(path.read_text(encoding="utf-8"))]
        _replace(self._page, _table(rows))


def _table(rows: list[FaultRow]) -> str:
    lines = [_HEAD, f"{len(rows)} faults."]
    group = ""
    for row in rows:
        if row.group != group:
            group = row.group
            lines += ["", f"## {group}", "", "| fault | expected | observed | recovery |", "|---|---|---|---|"]
        cells = (row.fault, row.expected, row.observed, row.recovery)
        lines.append("| " + " | ".join(_cell(text) for text in cells) + " |")
    return "\n".join(lines) + "\n"


def _replace(path: Path, text: str) -> None:
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _cell(text: str) -> str:
    """One line without the places in ROS's own sources, ", at /some/build/src/parse.c:835": they are of a build."""
    told = re.sub(r",? at /\S+\.(?:c|cc|cpp|h|hpp):\d+", "", text)
    return " ".join(told.replace("|", "\\|").split())
