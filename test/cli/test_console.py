"""Progress is shown while nothing comes: a compiler that says nothing for minutes looks unlike one that hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gps_denied_inference.cli.console import progress
from gps_denied_inference.cli.engine import build
from gps_denied_inference.cli.main import main
from gps_denied_inference.core.errors import EngineBuildError


def wait_for_lines(capsys: pytest.CaptureFixture[str], are_enough: Callable[[list[str]], bool]) -> list[str]:
    lines: list[str] = []
    deadline_s = time.monotonic() + 30.0
    while not are_enough(lines) and time.monotonic() < deadline_s:
        time.sleep(0.005)
        lines += capsys.readouterr().err.splitlines()
    assert are_enough(lines), lines
    return lines


def test_latest_line_is_repeated_while_nothing_comes(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("building", 600, period_s=0.01) as show:
        show(300, "compile")
        lines = wait_for_lines(capsys, lambda lines: sum("compile, 300 of 600" in line for line in lines) >= 3)
        assert lines[0] == "building ..."
        show(600)
        wait_for_lines(capsys, lambda lines: any(line.startswith("building: 600 of 600, ") for line in lines))
    # The repeats may have gone on until then; the end is said once, and last.
    assert capsys.readouterr().err.splitlines()[-1].startswith("building: 600 of 600 in ")
    assert "progress" not in {thread.name for thread in threading.enumerate()}


def test_what_fails_claims_no_end_and_leaves_nothing_behind(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), progress("building", 600):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == "building ...\n"
    assert "progress" not in {thread.name for thread in threading.enumerate()}


def test_build_tells_its_stage_as_long_as_it_lasts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def compile_in_silence(*_arguments: object, on_progress: Callable[[str, float], None], **_keywords: object) -> None:
        on_progress("compile", 0.0)
        wait_for_lines(capsys, lambda lines: sum(": compile, 300 of 600" in line for line in lines) >= 2)
        raise EngineBuildError("told")

    monkeypatch.setattr(build, "build_engine", compile_in_silence)
    monkeypatch.setattr(build, "progress", lambda title, total: progress(title, total, period_s=0.01))
    assert main(["engine", "build", "xfeat", "--runtime", "tensorrt", "--store", str(tmp_path / "store")]) == 1
