"""The report, in both forms."""

import json
import math
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import cv2
import numpy as np
import pytest

from gps_denied_inference.core.contracts import StageTimings, ThermalState
from gps_denied_inference.core.evaluation import (
    FlightReport,
    FrameOutcome,
    HealthSample,
    ImagePair,
    MapPicture,
    ReplayAccounting,
    RunFacts,
    ThermalSample,
    html_report,
    json_report,
    percentiles,
    score_retrieval,
)

JPEG = bytes(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1])
FACTS = RunFacts(
    model="net",
    weights_sha256="ab" * 32,
    space_id="net/4/ab/cd",
    runtime="pytorch_fp16",
    precision="fp32",
    device="cpu",
    provider="torch <2>",
    fallback_reason="no CUDA & no GPU",
    is_gated=False,
    cold_start_s=2.5,
    tile_positions=210,
    tile_headings=8,
    tile_side_m=45.0,
    tile_stride_m=(12.0, 12.3),
    frame_rate_hz=10.0,
    duration_s=2.0,
    track_length_m=80.0,
    heading_octants=8,
    disturbances="haze",
    machine="a machine",
    created="a day",
    version="0.1.0",
)


def flight_report(**changes: object) -> FlightReport:
    generator = np.random.default_rng(0)
    timings = StageTimings(0.1, 1.0, 0.5, 20.0, 0.2, 21.8)
    frames = tuple(
        FrameOutcome(index / 10, (index, 50.0), (index + 3.0, 54.0), 0.9, 5.0, index != 7, timings, 25.0 + index)
        for index in range(20)
    )
    score = score_retrieval(np.full(20, 5.0), 22.5)
    report = FlightReport(
        facts=FACTS,
        accounting=ReplayAccounting(20, 20, 20, {"stale": 0, "not_finite": 0}, 0, 20),
        frames=frames,
        true_track_m=tuple(frame.true_m for frame in frames),
        score=score,
        random_score=replace(score, recall_at_1=0.2),
        latency_ms=percentiles([frame.latency_ms for frame in frames]),
        node_latency_ms=percentiles([frame.timings.total_ms for frame in frames]),
        node_overhead_ms=percentiles([5.0]),
        similarity=generator.random((20, 20)).astype(np.float32),
        health=(HealthSample(-0.5, 0, "active", "", 10.0, 22.0), HealthSample(0.5, 1, "active", "hot <b>", 10.0, 22.0)),
        thermal=(ThermalSample(0.1, ThermalState(cause="no sensor <here>")),),
        map_picture=MapPicture(JPEG, 230.0, 247.0),
        pairs=(ImagePair("t = 0 s", JPEG, JPEG, True),),
        problems=(),
    )
    return replace(report, **changes)  # type: ignore[arg-type]


def test_json_report_has_every_promised_figure() -> None:
    figures = json_report(flight_report())
    for name in ("frames_in", "frames_published", "frames_dropped", "frames_lost_in_transport", "recall_at_1"):
        assert name in figures
    assert figures["recall_at_1"] == 1.0 and figures["recall_at_1_random"] == 0.2
    assert figures["median_error_m"] == 5.0
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
    body = document[document.index("<main>") : document.index("</main>") + len("</main>")]
    # Void elements of HTML are closed for the XML parser.
    ElementTree.fromstring(re.sub(r"(<img [^>]*[^/])>", r"\1/>", body))
    assert "hot &lt;b&gt;" in document and "<here>" not in document and "no CUDA &amp; no GPU" in document


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
