"""docs/models.md is what `gdi models --markdown` writes of the committed figures."""

from __future__ import annotations

from pathlib import Path

from gps_denied_inference.cli.model_table import model_page, read_measurements
from gps_denied_inference.core.architectures import ArchitectureRegistry, entries

DOCS = Path(__file__).parents[2] / "docs"
FIGURES = sorted((DOCS / "measurements").glob("models-*.json"))


def test_page_is_up_to_date_and_every_network_measured() -> None:
    registry = ArchitectureRegistry()
    entries.register(registry)
    measurements = [read_measurements(path) for path in FIGURES]
    assert measurements
    assert (DOCS / "models.md").read_text() == model_page(registry, measurements) + "\n"
    assert set(measurements[0].models) == set(registry)
