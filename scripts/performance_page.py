"""Renews the tables of docs/performance.md: `python scripts/performance_page.py MARK REPORT.json...`.

MARK is `cpu` or `gpu`; several reports are of parts that ran one after the other on the same computer.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gps_denied_inference.cli.benchmarks.page import page_with_tables

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"


def main(mark: str, reports: list[Path]) -> None:
    PAGE.write_text(page_with_tables(PAGE.read_text(encoding="utf-8"), reports, mark), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], [Path(argument) for argument in sys.argv[2:]])
