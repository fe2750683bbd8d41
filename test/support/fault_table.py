"""What came of the faults that were put to the nodes: a table in Markdown."""

from __future__ import annotations

from dataclasses import dataclass
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
    """Collects rows in the order of the tests."""

    def __init__(self) -> None:
        self._rows: list[FaultRow] = []

    def add(self, row: FaultRow) -> None:
        self._rows.append(row)

    def write(self, path: Path) -> None:
        """Write the table, unless there is nothing to write."""
        if not self._rows:
            return
        lines = [_HEAD, f"{len(self._rows)} faults."]
        group = ""
        for row in self._rows:
            if row.group != group:
                group = row.group
                lines += ["", f"## {group}", "", "| fault | expected | observed | recovery |", "|---|---|---|---|"]
            cells = (row.fault, row.expected, row.observed, row.recovery)
            lines.append("| " + " | ".join(_cell(text) for text in cells) + " |")
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
