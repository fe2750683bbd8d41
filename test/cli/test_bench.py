"""The benchmark measures in turn, and takes no report for evidence that lacks a limit or a baseline."""

import json
import math
import os
import time
from dataclasses import replace
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
from gps_denied_inference.cli.benchmarks.parts import PARTS
from gps_denied_inference.cli.benchmarks.report import text_of, write_report
from gps_denied_inference.cli.benchmarks.traffic import Traffic, processor_seconds
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
        now_ns += int(duration_ms * 1e6 * (100 if len(calls) <= 4 else 1))

    contenders = [
        Contender(Role.LIMIT, "limit", lambda: work("limit", 1.0), prepare=lambda: calls.append("prepare")),
        Contender(Role.OURS, "ours", lambda: work("ours", 3.0)),
    ]
    rows = in_turn(contenders, BenchPlan(tmp_path, repetitions=4, warm_up=2), clock=lambda: now_ns)
    assert calls == ["prepare", "limit", "ours"] * 6
    assert [(row.role, row.median, row.noise, row.count) for row in rows] == [
        (Role.LIMIT, 1.0, 0.0, 4),
        (Role.OURS, 3.0, 0.0, 4),
    ]


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
    traffic = Traffic(60, (20.0, 30.0), (15.0, 15.0), (2.0, 3.0), node_cpu_s=0.05, duration_s=2.0)
    assert traffic.overhead_ms() == [5.0, 15.0]
    assert traffic.cpu_percent_beside_model() == pytest.approx(1.0)


def test_processor_time_of_a_process_grows_with_its_work() -> None:
    before = processor_seconds(os.getpid())
    until = time.process_time() + 0.05
    while time.process_time() < until:
        sum(range(1000))
    assert processor_seconds(os.getpid()) > before


def test_real_part_is_complete_and_within_a_grey_level(tmp_path: Path) -> None:
    assert main(["bench", "preprocess", "--quick", "--output", str(tmp_path)]) == 0
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["problems"] == []
    for comparison in document["parts"][0]["comparisons"]:
        ours = next(row for row in comparison["rows"] if row["role"] == "ours")
        assert ours["facts"]["largest_error_of_255"] <= 1.0
