"""The report, in both forms."""

import json
import math
import re
from xml.etree import ElementTree

import pytest
from flight_reports import flight_report

from gps_denied_inference.core.contracts import ThermalState
from gps_denied_inference.core.evaluation import ThermalSample, html_report, json_report

_CARDS = {
    "Where it was, and where it was found": "polyline",
    "Error of the best tile, and refined": "circle",
    "Where every frame went": "table",
    "Temperatures": "path",
    "From the best tile to a position": "table",
    "Latency by stage": "path",
    "Percentiles": "table",
    "What ran": "code",
    "Two runtimes, one network": "table",
    "Self-similarity of the descriptors": "image",
    "Health": "rect",
    "How it was measured": "table",
    "Frames and the tiles found for them": "img",
}
"""What each card shows, by an element that nothing else in it has."""


def _parsed(document: str) -> ElementTree.Element:
    body = document[document.index("<main>") : document.index("</main>") + len("</main>")]
    # Void elements of HTML are closed for the XML parser.
    return ElementTree.fromstring(re.sub(r"(<img [^>]*[^/])>", r"\1/>", body))


@pytest.fixture(scope="module")
def cards() -> dict[str, ElementTree.Element]:
    states = (ThermalState(50.0 + second, 60.0, is_telemetry_available=True) for second in range(3))
    thermal = tuple(ThermalSample(float(second), state) for second, state in enumerate(states))
    sections = _parsed(html_report(flight_report(thermal=thermal))).iter("section")
    return {section.findtext("h2", ""): section for section in sections}


def test_html_report_has_every_card(cards: dict[str, ElementTree.Element]) -> None:
    assert cards.keys() == _CARDS.keys()


@pytest.mark.parametrize("title", _CARDS)
def test_card_shows_its_chart_or_table(cards: dict[str, ElementTree.Element], title: str) -> None:
    tags = {element.tag.rpartition("}")[2] for element in cards[title].iter()}
    assert _CARDS[title] in tags


def test_json_report_has_every_promised_figure() -> None:
    figures = json_report(flight_report())
    for name in ("frames_in", "frames_published", "frames_dropped", "frames_lost_in_transport", "recall_at_1"):
        assert name in figures
    assert figures["recall_at_1"] == 1.0 and figures["recall_at_1_random"] == 0.2
    assert figures["median_error_m"] == 5.0
    assert (figures["median_error_refined_m"], figures["refined_frames"]) == (1.0, 10)
    assert figures["refinement"]["median_error_retrieved_m"] == 5.0
    assert figures["refinement"]["not_refined"]["a newer frame was ranked instead"] == 10
    assert figures["refinement"]["nodes"][0]["dropped"] == {"unpaired": 10}
    assert set(figures["latency_ms"]) == {"p50", "p95", "p99"} and {"p50", "p95"} <= set(figures["node_overhead_ms"])
    assert (figures["runtime"], figures["precision"], figures["device"]) == ("pytorch_fp16", "fp32", "cpu")
    assert figures["cold_start_s"] == 2.5 and figures["passed"] is True
    json.dumps(figures, allow_nan=False)


def test_html_report_needs_nothing_from_outside() -> None:
    document = html_report(flight_report())
    sources = re.findall(r'(?:src|href)="([^"]{0,40})', document)
    assert sources and all(source.startswith("data:image/") for source in sources)
    assert "<script" not in document and "@import" not in document and "url(http" not in document


def test_html_report_is_well_formed_and_escapes_what_comes_from_the_run() -> None:
    document = html_report(flight_report())
    _parsed(document)
    assert "hot &lt;b&gt;" in document and "<here>" not in document and "no CUDA &amp; no GPU" in document


def test_html_report_shows_both_errors_side_by_side_and_what_was_not_refined() -> None:
    document = html_report(flight_report())
    card = document[document.index("From the best tile to a position") :]
    assert '<td class="number">5.00 m</td><td class="number"><b>1.00 m</b></td>' in card
    assert "Not refined: 10 a newer frame was ranked instead." in card and "10 unpaired" in card
    assert document.count("refined: error 1.0 m, 40 inliers") == 10


def test_html_report_says_when_there_is_no_telemetry_and_draws_what_there_is() -> None:
    assert "No telemetry on this machine" in html_report(flight_report())
    readings = tuple(
        ThermalSample(float(second), ThermalState(50.0 + second, math.nan, is_telemetry_available=True))
        for second in range(3)
    )
    document = html_report(flight_report(thermal=readings))
    assert "No telemetry" not in document and "temperature, °C" in document


@pytest.mark.parametrize(("problems", "words"), [((), "all bounds met"), (("recall@1 is 0.5",), "1 bound(s) missed")])
def test_html_report_opens_with_the_verdict(problems: tuple[str, ...], words: str) -> None:
    document = html_report(flight_report(problems=problems))
    assert words in document and all(problem in document for problem in problems)
