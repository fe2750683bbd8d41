"""The page's tables are those of the reports that are kept beside it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gps_denied_inference.cli.benchmarks.page import page_with_tables
from gps_denied_inference.core.errors import SettingsError

_DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("mark", ["cpu", "gpu"])
def test_tables_of_the_page_are_those_of_the_kept_reports(mark: str) -> None:
    page = (_DOCS / "performance.md").read_text(encoding="utf-8")
    (section,) = re.findall(rf"<!-- {mark} parts -->(.*?)<!-- {mark} parts end -->", page, flags=re.DOTALL)
    reports = sorted((_DOCS / "measurements").glob(f"performance-*-{mark}*.json"))
    if not section.strip():
        assert not reports
        return
    newest = max(path.name[: len("performance-2026-11-25")] for path in reports)
    reports = [path for path in reports if path.name.startswith(newest)]
    assert page_with_tables(page, reports, mark) == page


def test_page_without_marks_is_refused(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    report.write_text('{"machine": {}, "repetitions": 1, "warm_up": 0, "parts": []}')
    with pytest.raises(SettingsError, match="<!-- cpu targets -->"):
        page_with_tables("# Performance", [report], "cpu")
