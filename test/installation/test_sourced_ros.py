"""The whole set-up in a shell where a ROS 2 Jazzy is sourced; this checkout's wheels stand for that ROS."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tree_copy import bare_environment, copy_sources

PREFIX = Path(sys.prefix)
PACKAGES = PREFIX / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"

pytestmark = pytest.mark.skipif(
    not (PREFIX / "share" / "rclpy").is_dir(), reason="a sourced ROS, not wheels, is under this test run"
)


@pytest.fixture(scope="module")
def sourced(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables as a set-up file of that ROS would export them."""
    libraries = [PREFIX / "lib", *PACKAGES.glob("ros_*.libs")]
    return bare_environment(
        tmp_path_factory.mktemp("home"),
        ROS_DISTRO="jazzy",
        AMENT_PREFIX_PATH=str(PREFIX),
        CMAKE_PREFIX_PATH=str(PREFIX),
        PYTHONPATH=str(PACKAGES),
        PATH=f"{PREFIX / 'bin'}:{os.defpath}",
        LD_LIBRARY_PATH=":".join(map(str, libraries)),
    )


@pytest.fixture(scope="module")
def tree(sourced: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = copy_sources(tmp_path_factory.mktemp("sourced") / "tree")
    answer = subprocess.run(["make", "setup"], cwd=root, env=sourced, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "the sourced ROS" in answer.stdout
    return root


def test_no_ros_wheel_is_installed(tree: Path) -> None:
    assert list(tree.glob(".venv/lib/python3*/site-packages/ros_*")) == []
    assert "include-system-site-packages = true" in (tree / ".venv" / "pyvenv.cfg").read_text()


def test_environment_uses_the_sourced_rclpy_and_this_build(tree: Path, sourced: dict[str, str]) -> None:
    code = "import rclpy, gps_denied_inference.msg as m; print(rclpy.__file__, m.__file__)"
    answer = subprocess.run(
        ["bash", "-c", f". {tree}/env.sh && python -c '{code}'"],
        cwd="/",
        env=sourced,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.stderr == ""
    rclpy_file, messages_file = answer.stdout.split()
    assert Path(rclpy_file).is_relative_to(PREFIX)
    assert Path(messages_file).is_relative_to(tree / "install")


def test_second_setup_finds_nothing_to_do(tree: Path, sourced: dict[str, str]) -> None:
    answer = subprocess.run(["make", "setup"], cwd=tree, env=sourced, capture_output=True, text=True, timeout=60)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


def test_gdi_is_that_of_this_build_and_runs_on_the_sourced_ros(tree: Path, sourced: dict[str, str]) -> None:
    code = "import os; print(os.environ['AMENT_PREFIX_PATH'])"
    answer = subprocess.run(
        ["bash", "-c", f'. {tree}/env.sh && command -v gdi && python -c "{code}" && gdi models'],
        cwd="/",
        env=sourced,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    program, prefixes, *table = answer.stdout.splitlines()
    assert program == f"{tree}/install/gps_denied_inference/bin/gdi"
    assert prefixes.split(":") == [f"{tree}/install/gps_denied_inference", str(PREFIX)]
    assert any("efficientnet_lite0_grid" in line for line in table)


def test_environment_without_that_ros_says_so(tree: Path, tmp_path: Path) -> None:
    answer = subprocess.run(
        ["bash", "-c", f". {tree}/env.sh"], env=bare_environment(tmp_path), capture_output=True, text=True, timeout=60
    )
    assert answer.returncode == 1
    assert len(answer.stderr.splitlines()) == 1
    assert "source that ROS first" in answer.stderr


def test_set_up_and_use_leave_nothing_in_the_home_folder_but_caches_and_logs(
    tree: Path, sourced: dict[str, str]
) -> None:
    code = "import rclpy; rclpy.init(); rclpy.shutdown()"
    subprocess.run(["bash", "-c", f'. {tree}/env.sh && python -c "{code}"'], env=sourced, check=True, timeout=60)
    assert {file.name for file in Path(sourced["HOME"]).iterdir()} <= {".cache", ".ros"}
    assert {file.name for file in Path(sourced["HOME"]).glob(".cache/*")} <= {"pip"}
