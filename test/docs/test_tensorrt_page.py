"""The page's commands parse, and its facts are those of the code."""

import re
import shlex
from pathlib import Path

import pytest

from gps_denied_inference.cli.main import _parser
from gps_denied_inference.core.architectures.install_commands import install_command

_TEXT = (Path(__file__).parents[2] / "docs" / "tensorrt.md").read_text()


@pytest.mark.parametrize("line", re.findall(r"^gdi .*$", _TEXT, re.MULTILINE))
def test_every_command_parses(line: str) -> None:
    options = _parser().parse_args(shlex.split(line)[1:])
    assert callable(getattr(options, "run_action", None) or getattr(options, "run", None))


def test_the_pinned_version_is_the_one_that_is_told() -> None:
    command = install_command("tensorrt_rtx")
    version = command.rpartition("==")[2]
    assert f"`{command}`" in _TEXT
    assert f"rtx{version}__" in _TEXT and f"RTX {version} " in _TEXT


def test_the_compute_capabilities_are_the_modules_own() -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    known = [name[2:] for name in trt.ComputeCapability.__members__ if name.startswith("SM")]
    assert f"knows {', '.join(known[:-1])} and {known[-1]}:" in _TEXT


def test_files_that_it_names_exist() -> None:
    for name in re.findall(r"`((?:test|core)/[\w/]+\.py)`", _TEXT):
        root = Path(__file__).parents[2]
        assert (root / name).is_file() or (root / "gps_denied_inference" / name).is_file(), name
