"""The benchmark measures in turn, and takes no report for evidence that lacks a limit or a baseline."""

import json
import math
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from gps_denied_inference.cli import bench
from gps_denied_inference.cli.benchmarks.measurement import (
    BenchPlan,
    Comparison,
    Contender,
    PartReport,
    Role,
    Row,
    in_turn,
    row_of,
)
from gps_denied_inference.cli.benchmarks.memory import growth
from gps_denied_inference.cli.benchmarks.parts import PARTS
from gps_denied_inference.cli.benchmarks.processor_time import processor_seconds
from gps_denied_inference.cli.benchmarks.report import text_of, write_report
from gps_denied_inference.cli.benchmarks.start_steps import StepClock
from gps_denied_inference.cli.benchmarks.targets import targets_text
from gps_denied_inference.cli.benchmarks.traffic import Answer, Traffic
from gps_denied_inference.cli.main import main

_ROWS = tuple(Row(role, role.value, value, 0.1, 5) for role, value in zip(Role, (1.0, 2.0, 8.0, 4.0), strict=True))
_COMPLETE = Comparison("1080p", "ms", _ROWS, target=2.0)


def test_contenders_take_turns_and_the_warm_up_is_left_out(tmp_path: Path) -> None:
    calls: list[str] = []
    now_ns = 0

    def work(name: str, duration_ms: float) -> None:
        nonlocal now_ns
        calls.append(name)
        # The first calls are slow.
        now_ns += int(duration_ms * 1e6 * (100 if len(calls) <= 6 else 1))

    contenders = [
        Contender(Role.LIMIT, "limit", lambda: work("limit", 1.0), prepare=lambda: calls.append("prepare")),
        Contender(Role.OURS, "ours", lambda: work("ours", 3.0)),
    ]
    rows = in_turn(contenders, BenchPlan(tmp_path, repetitions=4, warm_up=2), clock=lambda: now_ns)
    rounds = " ".join(calls).replace("prepare limit", "limit").split()
    assert [sorted(rounds[i : i + 2]) for i in range(0, len(rounds), 2)] == [["limit", "ours"]] * 6
    assert calls.count("prepare") == 6
    assert [(row.role, row.median, row.noise, row.count) for row in rows] == [
        (Role.LIMIT, 1.0, 0.0, 4),
        (Role.OURS, 3.0, 0.0, 4),
    ]


def test_every_contender_follows_every_other_as_often(tmp_path: Path) -> None:
    """What ran before it decides what a contender finds in the caches."""
    calls: list[str] = []
    names = ("limit", "ours", "baseline", "alternative")
    contenders = [Contender(Role(name), name, partial(calls.append, name)) for name in names]
    in_turn(contenders, BenchPlan(tmp_path, repetitions=1600, warm_up=0))
    follows = Counter(pairwise(calls))
    others = [follows[first, second] for first in names for second in names if first != second]
    themselves = [follows[name, name] for name in names]
    assert 400 < min(others) <= max(others) < 600
    assert max(themselves) - min(themselves) < 60


def test_noise_is_half_the_distance_of_the_quartiles() -> None:
    row = row_of(Role.OURS, "ours", [1.0, 2.0, 3.0, 4.0, 5.0])
    assert (row.median, row.noise) == (3.0, 1.0)


@pytest.mark.parametrize("role", [Role.LIMIT, Role.OURS, Role.BASELINE])
def test_missing_row_is_a_problem(role: Role) -> None:
    assert not _COMPLETE.problems()
    rows = tuple(row for row in _ROWS if row.role is not role)
    assert replace(_COMPLETE, rows=rows).problems() == [f"1080p: no row '{role.value}'"]
    unmeasured = tuple(row_of(role, "nothing", []) if row.role is role else row for row in _ROWS)
    assert replace(_COMPLETE, rows=unmeasured).problems() == ["1080p: 'nothing' was not measured"]


@pytest.mark.parametrize("role", [Role.BASELINE, Role.OURS])
def test_naive_way_may_lose_every_frame_and_ours_may_not(role: Role) -> None:
    lost = row_of(role, "lossy", [], {"p95": math.nan, "received": 0.0, "sent": 60.0})
    comparison = replace(_COMPLETE, rows=tuple(lost if row.role is role else row for row in _ROWS))
    assert comparison.problems() == ([] if role is Role.BASELINE else ["1080p: 'lossy' was not measured"])
    text = text_of(PartReport("e", "node", "stamp → published", (comparison,)))
    assert f"{role.value}: lossy | none answered | – | – | received 0, sent 60" in text
    assert "nan" not in text


def test_report_holds_ratios_to_the_limit(tmp_path: Path) -> None:
    part = PartReport("a", "receive", "take → numpy", (_COMPLETE,), ("nothing is left out",))
    path = write_report([part], BenchPlan(tmp_path), {"cores": "2"}, ["part b failed"])
    document = json.loads(path.read_text())
    (comparison,) = document["parts"][0]["comparisons"]
    assert [row["ratio"] for row in comparison["rows"]] == [1.0, 2.0, 8.0, 4.0]
    assert document["problems"] == ["part b failed"]
    assert "| ours: ours | 2 ms | 0.1 | 2.00 | target ≤ 2 |" in text_of(part)
    assert math.isnan(replace(_COMPLETE, rows=_ROWS[1:]).ratio(_ROWS[1]))


def test_incomplete_report_fails_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = {"a": (_COMPLETE,), "b": (replace(_COMPLETE, rows=_ROWS[:2]),)}

    def measured(letter: str) -> PartReport:
        return PartReport(letter, letter, letter, reports[letter])

    class Stand:
        has_gpu_form = False

        def __init__(self, letter: str) -> None:
            self.letter = self.name = self.title = letter

        def measure(self, _plan: BenchPlan) -> PartReport:
            return measured(self.letter)

    monkeypatch.setattr(bench, "PARTS", (Stand("a"), Stand("b")))
    assert main(["bench", "a", "--output", str(tmp_path)]) == 0
    assert main(["bench", "--output", str(tmp_path)]) == 1
    assert "part b (b), 1080p: no row 'baseline'" in capsys.readouterr().err


def test_unknown_part_is_refused_with_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "recieve", "--output", str(tmp_path)]) == 1
    assert "a (receive)" in capsys.readouterr().err


def test_parts_have_letters_in_order_and_names_of_their_own() -> None:
    letters = [part.letter for part in PARTS]
    assert letters == sorted(letters) and len({part.name for part in PARTS}) == len(PARTS)


def test_answers_cost_what_the_network_did_not() -> None:
    answers = (
        Answer(0, 20_000_000, 21_000_000, 1.0, 0.0, 1.0, 15.0, 0.0, 17.0),
        Answer(10**8, 10**8 + 30_000_000, 10**8 + 31_000_000, 1.0, 0.0, 2.0, 15.0, 0.0, 18.0),
    )
    traffic = Traffic(60, answers, (0.5,) * 60, node_cpu_s=0.05, duration_s=2.0)
    assert traffic.overhead_ms() == [5.0, 15.0]
    assert traffic.inside_ms() == [2.0, 3.0]
    assert traffic.cpu_percent() == pytest.approx(2.5)
    assert traffic.cpu_percent_beside(0.015) == pytest.approx(1.0)


def test_processor_time_of_a_process_grows_with_its_work_alone() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as idle:
        before, own = processor_seconds(os.getpid()), time.process_time()
        while time.process_time() < own + 0.05:
            sum(range(1000))
        assert processor_seconds(os.getpid()) - before >= 0.05
        # Less than a tick of the kernel's coarse account, once it waits.
        while "S" not in Path(f"/proc/{idle.pid}/stat").read_text().rpartition(")")[2].split()[:1]:
            time.sleep(0.01)
        assert idle.stdin is not None
        idle.stdin.close()
    with pytest.raises(OSError, match=f"process {idle.pid}"):
        processor_seconds(idle.pid)


def test_steps_of_a_start_exclude_one_another() -> None:
    now = 0.0
    clock = StepClock(lambda: now)

    def passes(seconds: float) -> None:
        nonlocal now
        now += seconds

    imported = clock.timed("imports", passes)

    def load() -> None:
        passes(1.0)
        clock.timed("imports", lambda: imported(4.0))()
        passes(2.0)

    passes(8.0)
    clock.timed("load", load)()
    passes(16.0)
    assert dict(clock.seconds) == {"load": 3.0, "imports": 4.0}


def test_growth_is_the_slope_over_the_planned_frames() -> None:
    rising = growth([50.0, 60.0, *(100.0 + 0.5 * step for step in range(8))], 1000, 10_000)
    assert rising["growth_mib"] == pytest.approx(0.5 * 7 / 800 * 10_000, rel=1e-3)
    steady = growth([50.0, 60.0, *(100.0, 101.0, 102.0, 101.0) * 4], 1000, 10_000)
    assert abs(steady["growth_in_scatter"]) < 3.0 < rising["growth_in_scatter"]


def test_targets_are_judged_and_stand_beside_the_naive_way() -> None:
    case = replace(_COMPLETE, case="1080p rgb8")
    assert "| take → numpy, 1080p | ≤ 2 × memcpy | 2 × memcpy | 8 × memcpy | reached |" in targets_text(
        [PartReport("a", "receive", "", (case,))]
    )
    slower = replace(case, rows=(_ROWS[0], replace(_ROWS[1], median=2.1), *_ROWS[2:]))
    assert "| missed |" in targets_text([PartReport("a", "receive", "", (slower,))])
    assert targets_text([]) == ""


def test_real_part_is_complete_and_within_a_grey_level(tmp_path: Path) -> None:
    assert main(["bench", "preprocess", "--quick", "--output", str(tmp_path)]) == 0
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["problems"] == []
    for comparison in document["parts"][0]["comparisons"]:
        ours = next(row for row in comparison["rows"] if row["role"] == "ours")
        assert ours["facts"]["largest_error_of_255"] <= 1.0
