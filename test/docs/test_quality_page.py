"""docs/quality.md is what `gdi eval page` writes of the committed figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from gps_denied_inference.cli.eval.page import quality_page
from gps_denied_inference.cli.eval.results import read_results
from gps_denied_inference.core.architectures import ArchitectureRegistry, entries

DOCS = Path(__file__).parents[2] / "docs"
RESULTS = [read_results(path) for path in sorted((DOCS / "measurements").glob("quality-*.json"))]


def registry() -> ArchitectureRegistry:
    ours = ArchitectureRegistry()
    entries.register(ours)
    return ours


def test_page_is_up_to_date() -> None:
    assert len(RESULTS) == 4
    assert (DOCS / "quality.md").read_text() == quality_page(RESULTS, registry()) + "\n"


@pytest.mark.parametrize("weights", ["published", "random"])
def test_every_network_with_weights_is_measured_with_them_and_without(weights: str) -> None:
    measured = {
        name
        for item in RESULTS
        for row in item["rows"]
        if row["weights"] == weights
        for name in row.get("networks", [row["row"]])
    }
    expected = {name for name in registry() if not registry().lookup(name).spec.is_verified_by_layout_only}
    assert expected <= measured
