"""What the demo makes of its own figures."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from flight_reports import flight_report

from gps_denied_inference.cli import demo
from gps_denied_inference.cli.demonstration.evaluate import missed_bounds
from gps_denied_inference.cli.demonstration.live import LiveRun
from gps_denied_inference.cli.demonstration.plan import DemoPlan
from gps_denied_inference.cli.main import main
from gps_denied_inference.core.evaluation import FlightReport, NotRefined, score_refinement
from gps_denied_inference.core.pipeline import FrameCounts

RUN = LiveRun(20, FrameCounts(20, 20, {}, 0), {}, {}, 2.0, 0, "")


def judged(report: FlightReport, run: LiveRun = RUN) -> list[str]:
    return missed_bounds(
        DemoPlan(), report.accounting, report.score, report.random_score, report.refinement, report.agreement, run
    )


def test_good_figures_miss_no_bound() -> None:
    assert judged(flight_report()) == []


def test_each_bad_figure_is_named() -> None:
    good = flight_report()
    assert "recall@1 is 0.890" in judged(replace(good, score=replace(good.score, recall_at_1=0.89)))[0]
    assert "too easy" in judged(replace(good, random_score=replace(good.random_score, recall_at_1=0.7)))[0]
    assert "10 were recorded" in judged(replace(good, accounting=replace(good.accounting, messages_recorded=10)))[0]
    slow = replace(good.accounting, frames_published=9, frames_dropped={"overwritten": 11}, messages_recorded=9)
    assert "9 of 20 frames were published, expected a share" in judged(replace(good, accounting=slow))[0]
    apart = replace(good.agreement, cosine_min=0.998)
    assert "onnx_trt_ep and pytorch_fp16 disagree" in judged(replace(good, agreement=apart))[0]
    refinement = good.refinement
    near = replace(good, refinement=replace(refinement, median_error_m=3.1))
    assert (
        "the refined positions' median error is 3.10 m, that of the same frames' best tiles 5.00 m" in judged(near)[0]
    )
    few = replace(good, refinement=replace(refinement, refined_frames=1, not_refined={NotRefined.SKIPPED: 19}))
    assert "1 of 20 frames were refined" in judged(few)[0]
    lost = replace(good, refinement=replace(refinement, not_refined={}))
    assert "20 frames were published; of 10 it is known" in judged(lost)[0]
    leaky = replace(good, refinement=replace(refinement, nodes=(replace(refinement.nodes[0], received=19),)))
    assert "received 19, but published 10, dropped 10" in judged(leaky)[0]
    assert "/matcher_node ended with status 1" in judged(good, replace(RUN, failed_nodes={"/matcher_node": 1}))[0]
    assert "ended with status -9" in judged(good, replace(RUN, exit_status=-9))[0]
    assert "interrupted: torn" in judged(good, replace(RUN, interruption="torn"))[0]


def test_no_published_frame_is_a_missed_bound_and_not_a_pass() -> None:
    good = flight_report()
    assert judged(replace(good, score=replace(good.score, recall_at_1=float("nan"))))
    assert judged(replace(good, agreement=replace(good.agreement, cosine_min=float("nan"))))
    nothing = score_refinement([], reranked_frames=0, changed_frames=0, nodes=())
    assert any("were refined, expected" in problem for problem in judged(replace(good, refinement=nothing)))


@pytest.mark.parametrize(("problems", "status"), [((), 0), (("recall@1 is 0.5, below 0.9",), 1)])
def test_missed_bound_is_told_and_fails_the_demo(
    problems: tuple[str, ...],
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = flight_report(problems=problems)
    monkeypatch.setattr(demo, "run_demo", lambda _output, _plan: report)
    assert main(["demo", "--output", str(tmp_path)]) == status
    shown = capsys.readouterr()
    assert "1.0 m on 10 of 20 frames, their best tiles 5.0 m" in shown.out
    assert "1.000 within 22.5 m" in shown.out and str(tmp_path / "report.html") in shown.out
    assert [line for line in shown.err.splitlines() if line] == [f"gdi demo: {problem}" for problem in problems]
    assert main(["demo", "--output", str(tmp_path), "--json"]) == status
    assert json.loads(capsys.readouterr().out)["problems"] == list(problems)
