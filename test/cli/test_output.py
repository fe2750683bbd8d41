"""What the program writes: JSON that parses, and nothing but plain lines where nobody looks at a terminal."""

from __future__ import annotations

import argparse
import json
import math
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gps_denied_inference.cli.console import json_text
from gps_denied_inference.cli.main import _parser, main

_ESCAPE = b"\x1b"


def commands(store: Path) -> dict[str, list[str]]:
    """Every command that takes --json, as it succeeds or fails on this store."""
    engine = next(store.glob("*.onnx"))
    fast = ["--precision", "fp32", "--runtime"]
    return {
        "engine build": ["engine", "build", "efficientnet_lite0_grid", *fast, "pytorch_fp16", "--store", str(store)],
        "engine verify": ["engine", "verify", "--store", str(store)],
        "engine inspect": ["engine", "inspect", str(engine)],
        "engine sign": ["engine", "sign", "--store", str(store), "--key", str(store.parent / "key"), "--generate"],
        "engine list": ["engine", "list", "--store", str(store)],
        "engine prune": ["engine", "prune", "--store", str(store)],
        "preflight": ["preflight", "--store", str(store), *fast, "onnx_trt_ep", "--device", "cpu", "--frames", "2"],
        "doctor": ["doctor"],
        "models": ["models"],
    }


def leaves(parser: argparse.ArgumentParser, path: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command that does something, with its words."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield path.strip(), parser
    for action in below:
        for name, child in action.choices.items():
            yield from leaves(child, f"{path} {name}")


def test_every_command_takes_json() -> None:
    found = dict(leaves(_parser()))
    assert {"replay", "demo", "bench", "eval vpr", "engine build", "index build", "preflight"} <= set(found)
    assert [name for name, parser in found.items() if "--json" not in parser._option_string_actions] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["preflight"],
        ["replay", "no/such/bag"],
        ["engine", "verify", "--store", "no/such/store"],
        ["index", "build", "no/such/map.tif", "--out", "index", "--side", "60", "--model", "no_such_network"],
        ["eval", "page", "no/such/file.json"],
        ["bench", "no-such-part"],
        ["weights", "convert", "xfeat", "no/such/file.pt", "out.safetensors"],
    ],
)
def test_failure_is_json_too_and_its_sentence_is_on_stderr(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*arguments, "--json"]) == 1
    captured = capsys.readouterr()
    error = json.loads(captured.out)["error"]
    assert error["type"].endswith("Error") and error["message"]
    assert f"gdi {arguments[0]}: {error['message']}" in captured.err
    assert main(arguments) == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "name",
    [
        "engine build",
        "engine verify",
        "engine inspect",
        "engine sign",
        "engine list",
        "engine prune",
        "preflight",
        "doctor",
        "models",
    ],
)
def test_json_is_one_object_and_all_there_is_on_stdout(
    name: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = commands(store)[name]
    assert main([*arguments, "--json"]) in (0, 1)
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict) and found
    # Without it, lines for people.
    if name not in ("engine build", "engine sign", "preflight"):
        assert main(arguments) in (0, 1)
        assert not capsys.readouterr().out.startswith("{")


def test_json_has_null_for_what_is_no_number() -> None:
    assert json.loads(json_text({"a": [math.nan, (1.5, -math.inf)], "b": "NaN"})) == {
        "a": [None, [1.5, None]],
        "b": "NaN",
    }


def test_failed_preflight_is_json_and_ends_with_status_1(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    next(store.glob("*.onnx")).write_bytes(b"")
    assert main([*commands(store)["preflight"], "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["refused_by"] == "EngineHashMismatchError"


def program(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gps_denied_inference.cli.main", *arguments]


def build(store: Path) -> list[str]:
    return program(*commands(store)["engine build"])


def test_build_without_a_terminal_is_plain_and_its_progress_is_on_stderr(store: Path) -> None:
    environment = {**os.environ, "TERM": "xterm-256color"}
    finished = subprocess.run(build(store), capture_output=True, env=environment, check=True, timeout=120)
    assert _ESCAPE not in finished.stdout + finished.stderr and b"\r" not in finished.stdout + finished.stderr
    assert finished.stderr.startswith(b"building efficientnet_lite0_grid for pytorch_fp16")
    assert finished.stdout.splitlines()[0].endswith(b".pth")


def test_build_on_a_terminal_shows_a_bar_and_leaves_stdout_to_the_result(store: Path) -> None:
    pytest.importorskip("rich", reason="rich is not installed")
    terminal, end = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "160"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen([*build(store), "--json"], stdout=subprocess.PIPE, stderr=end, env=environment) as process:
        os.close(end)
        shown = b""
        while True:
            try:
                block = os.read(terminal, 65536)
            except OSError:  # the other end is closed: what Linux answers instead of an end
                break
            if not block:
                break
            shown += block
        assert process.stdout is not None
        written = process.stdout.read()
    os.close(terminal)
    assert process.returncode == 0
    assert _ESCAPE in shown and b"building efficientnet_lite0_grid" in shown
    assert b": golden outputs" in shown and b"0:00:0" in shown  # the stage, and the time that it took
    assert json.loads(written)["model"] == "efficientnet_lite0_grid"
