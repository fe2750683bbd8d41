"""``. ./env.sh`` in the shells that people use, from any folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tree_copy import ROOT, bare_environment

WHEELS_ONLY = pytest.mark.skipif(
    not Path(sys.prefix, "share", "rclpy").is_dir(), reason="a sourced ROS, not wheels, is under this test run"
)


@pytest.fixture(params=["bash", "zsh", "dash"])
def shell(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if shutil.which(name) is None:
        pytest.skip(f"the shell {name} is not installed")
    return name


def run_in(shell: str, script: str, tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [shell, "-c", script],
        cwd=tmp_path,
        env=bare_environment(tmp_path / "home", **variables),
        capture_output=True,
        text=True,
        timeout=60,
    )


@WHEELS_ONLY
def test_python_colcon_and_gdi_are_those_of_the_tree(shell: str, tmp_path: Path) -> None:
    answer = run_in(shell, f". {ROOT}/env.sh && command -v python && command -v colcon && command -v gdi", tmp_path)
    assert answer.stderr == ""
    assert answer.stdout.split() == [
        f"{ROOT}/.venv/bin/python",
        f"{ROOT}/.venv/bin/colcon",
        f"{ROOT}/install/gps_denied_inference/bin/gdi",
    ]


@WHEELS_ONLY
def test_messages_and_rclpy_import_in_spite_of_a_leaked_guard(shell: str, tmp_path: Path) -> None:
    script = (
        f'. {ROOT}/env.sh && python -c "import rclpy, gps_denied_inference.msg as m; print(m.ThermalState.__name__)"'
    )
    answer = run_in(shell, script, tmp_path, _ROS_WHEELS_BOOTSTRAP_COMPLETE="1")
    assert (answer.stdout, answer.stderr) == ("ThermalState\n", "")


@WHEELS_ONLY
def test_sourcing_twice_changes_nothing_and_leaves_no_empty_entries(shell: str, tmp_path: Path) -> None:
    show = 'printf "%s\\n" "$PATH" "$AMENT_PREFIX_PATH" "$PYTHONPATH" "$LD_LIBRARY_PATH"'
    once = run_in(shell, f". {ROOT}/env.sh; {show}", tmp_path).stdout
    twice = run_in(shell, f". {ROOT}/env.sh; . {ROOT}/env.sh; {show}", tmp_path).stdout
    assert once == twice
    assert len(once.splitlines()) == 4
    assert all(line and not line.endswith(":") and "::" not in line for line in once.splitlines())


def test_tree_without_setup_says_so_in_one_sentence(shell: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "env.sh", tmp_path / "env.sh")
    answer = run_in(shell, ". ./env.sh; echo status $?", tmp_path)
    assert answer.stdout == "status 1\n"
    assert len(answer.stderr.splitlines()) == 1
    assert "run 'make setup'" in answer.stderr
