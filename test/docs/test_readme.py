"""What the README names exists."""

import ast
import re
from pathlib import Path

import pytest

from gps_denied_inference.cli.main import main
from gps_denied_inference.core.interface import interface_files
from gps_denied_inference.core.settings import ENGINE_FIELDS, GENERAL_FIELDS

_ROOT = Path(__file__).resolve().parents[2]
_TEXT = (_ROOT / "README.md").read_text(encoding="utf-8")


def _section(title: str) -> str:
    return _TEXT.split(f"## {title}\n")[1].split("\n## ")[0]


def test_every_make_target_exists() -> None:
    makefile = (_ROOT / "Makefile").read_text()
    for target in re.findall(r"make (\w[\w-]*)", _TEXT):
        if target not in {"g"}:  # "git make g++ ..."
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_launch_arguments_are_those_of_the_launch_file() -> None:
    tree = ast.parse((_ROOT / "launch" / "inference.launch.py").read_text())
    declared = {
        call.args[0].value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "DeclareLaunchArgument"
        and isinstance(call.args[0], ast.Constant)
    }
    rows = [line for line in _section("On a vehicle").splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == declared


def test_parameters_that_act_at_once_are_all_named_and_no_others() -> None:
    pytest.importorskip("rclpy", reason="the node's parameters need ROS 2")
    from gps_denied_inference.ros.parameters import NODE_ENGINE_FIELDS, NODE_FIELDS

    fields = (*GENERAL_FIELDS, *NODE_FIELDS, *ENGINE_FIELDS, *NODE_ENGINE_FIELDS)
    named = re.findall(r"`(\w+)`", _section("Parameters"))
    assert sorted(named) == sorted(item.name for item in fields if item.is_dynamic)


def test_message_types_exist() -> None:
    types = re.findall(r"`([A-Z]\w+)`", _section("Topics"))
    ours = {name for name in types if name != "CompressedImage"}
    assert ours <= set(interface_files())
    assert len(ours) == 5


def test_linked_files_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", _TEXT):
        assert (_ROOT / target).is_file(), target


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"^gdi ((?:engine|eval|index|weights) \w+|\w+)", _TEXT, re.MULTILINE)))
)
def test_every_gdi_command_has_a_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*command.split(), "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for line in re.findall(rf"^gdi {command}\b.*$", _TEXT, re.MULTILINE):
        for option in re.findall(r"--[\w-]+", line):
            assert option in text
