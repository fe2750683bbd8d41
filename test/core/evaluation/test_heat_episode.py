"""The heat episode's figures, verdict and section of the report."""

import json
import math
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from flight_reports import flight_report

from gps_denied_inference.core.contracts import ThermalState
from gps_denied_inference.core.evaluation import (
    HeatEpisode,
    HeatFrame,
    ReplayAccounting,
    RungSample,
    ThermalSample,
    html_report,
    json_report,
)
from gps_denied_inference.core.evaluation.heat_card import heat_card

_RUNGS = (("full", "as the parameters say"), ("fewer <keypoints>", "top_k 512"), ("slow", "max_rate_hz 5"))


def _episode(rungs: str = "0001112222110000") -> HeatEpisode:
    """One report and one frame each half second; 100 ms on top, 20 ms less on each rung."""
    frames = tuple(
        HeatFrame(index / 2, 100.0 - 20 * int(rung), 90.0, 2000 - 500 * int(rung), "space")
        for index, rung in enumerate(rungs)
    )
    states = [
        ThermalState(
            cpu_temperature_c=60.0 + index, thermal_throttle_active=3 <= index < 8, is_telemetry_available=True
        )
        for index in range(len(rungs))
    ]
    return HeatEpisode(
        model="xfeat",
        rungs=_RUNGS,
        frames=frames,
        ladder=tuple(RungSample(index / 2, int(rung), "throttling <hot>") for index, rung in enumerate(rungs)),
        health=(),
        thermal=tuple(ThermalSample(index / 2, state) for index, state in enumerate(states)),
        accounting=ReplayAccounting(20, 20, len(rungs), {"rate_limited": 20 - len(rungs)}, 0, len(rungs)),
        exit_status=0,
    )


def test_frames_belong_to_the_rung_that_was_in_work() -> None:
    figures = _episode().figures()
    assert [item.frames for item in figures] == [6, 5, 4]  # the last frame lies on the end
    assert [item.seconds for item in figures] == [3.0, 2.5, 2.0]
    assert [item.latency_p50_ms for item in figures] == [100.0, 80.0, 60.0]
    assert [item.keypoints_p50 for item in figures] == [2000.0, 1500.0, 1000.0]
    assert figures[0].rate_hz == 2.0


def test_rung_that_was_never_reached_has_no_figures() -> None:
    figures = _episode("0" * 16).figures()[2]
    assert (figures.frames, figures.seconds) == (0, 0.0)
    assert math.isnan(figures.latency_p50_ms) and math.isnan(figures.rate_hz)
    assert heat_card(_episode("0" * 16)).count("–") >= 4


def test_good_episode_has_no_problems() -> None:
    assert _episode().problems() == []


@pytest.mark.parametrize(
    ("episode", "words"),
    [
        (_episode("0001111111110000"), "reached rung 1 of 2"),
        (_episode("0001112222111111"), "still on rung 1"),
        (replace(_episode(), thermal=()), "never said that it throttles"),
        (replace(_episode(), exit_status=-9), "status -9"),
        (replace(_episode(), accounting=replace(_episode().accounting, messages_recorded=3)), "3 were recorded"),
    ],
)
def test_each_shortcoming_is_named(episode: HeatEpisode, words: str) -> None:
    problems = episode.problems()
    assert len(problems) == 1 and words in problems[0] and problems[0].startswith("heat episode: ")


def test_steps_are_not_judged_where_the_plan_says_so() -> None:
    assert _episode("0" * 16).problems(judges_steps=False) == []


def test_section_is_well_formed_and_escapes_names_and_reasons() -> None:
    section = heat_card(_episode())
    ElementTree.fromstring(f"<div>{section}</div>")
    assert "fewer &lt;keypoints&gt;" in section and "throttling &lt;hot&gt;" in section
    assert section.count("<svg") == 3
    assert "4 rate limited" in section


def test_reports_show_the_episode_and_do_without_it() -> None:
    without, with_episode = flight_report(), flight_report(heat=_episode())
    assert "A heat episode" not in html_report(without)
    assert "A heat episode" in html_report(with_episode)
    assert json_report(without)["heat_episode"] is None
    shown = json_report(with_episode)["heat_episode"]
    assert (shown["lowest_rung"], shown["last_rung"]) == (2, 0)
    assert shown["rungs"][1]["latency_p50_ms"] == 80.0
    json.dumps(shown, allow_nan=False)
