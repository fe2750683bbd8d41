"""Each failure of the set-up ends in one sentence that says what to do."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tree_copy import bare_environment, copy_sources

# The interpreter that .venv was made from; inside a virtual environment sys.executable would be the wrong one.
BASE_PYTHON = str(Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}"))
SHELL_TOOLS = ("sh", "dirname", "sed", "env")
COMPILERS = ("gcc", "g++", "cc", "c++", "make")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return copy_sources(tmp_path / "tree")


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Folder for PATH that holds a shell, compilers and this Python, and nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in (*SHELL_TOOLS, *COMPILERS):
        found = shutil.which(name)
        assert found is not None, f"the test needs {name}"
        (folder / name).symlink_to(found)
    (folder / "python3").symlink_to(BASE_PYTHON)
    return folder


def run_setup(tree: Path, tmp_path: Path, path: Path | str, **variables: str) -> tuple[int, str]:
    environment = bare_environment(tmp_path / "home", PATH=str(path), **variables)
    answer = subprocess.run(
        ["/bin/sh", "scripts/setup.sh"], cwd=tree, env=environment, capture_output=True, text=True, timeout=120
    )
    return answer.returncode, answer.stderr


def assert_one_sentence(errors: str, *parts: str) -> None:
    lines = [line for line in errors.splitlines() if line.strip()]
    assert len(lines) == 1, errors
    assert lines[0].startswith("setup: ")
    assert lines[0].rstrip().endswith((".", ")."))
    for part in parts:
        assert part in lines[0]


def test_missing_python_names_the_packages_to_install(tree: Path, tmp_path: Path, programs: Path) -> None:
    (programs / "python3").unlink()
    status, errors = run_setup(tree, tmp_path, programs)
    assert status == 1
    assert_one_sentence(errors, "No Python 3.11, 3.12 or 3.13", "sudo apt install python3")


def test_too_old_python_alone_counts_as_none(tree: Path, tmp_path: Path, programs: Path) -> None:
    (programs / "python3").unlink()
    (programs / "python3").write_text("#!/bin/sh\nexit 1\n")
    (programs / "python3").chmod(0o755)
    status, errors = run_setup(tree, tmp_path, programs)
    assert status == 1
    assert_one_sentence(errors, "No Python 3.11, 3.12 or 3.13")


def test_named_python_that_is_not_there_is_refused(tree: Path, tmp_path: Path, programs: Path) -> None:
    status, errors = run_setup(tree, tmp_path, programs, PYTHON="/nowhere/python3.12")
    assert status == 1
    assert_one_sentence(errors, "PYTHON=/nowhere/python3.12 is not a program")


def test_named_python_of_another_version_is_refused(tree: Path, tmp_path: Path, programs: Path) -> None:
    other = tmp_path / "python3.10"
    other.write_text("#!/bin/sh\nexit 1\n")
    other.chmod(0o755)
    status, errors = run_setup(tree, tmp_path, programs, PYTHON=str(other))
    assert status == 1
    assert_one_sentence(errors, "is not Python 3.11, 3.12 or 3.13")


def test_missing_compiler_names_the_package_to_install(tree: Path, tmp_path: Path, programs: Path) -> None:
    for name in COMPILERS:
        (programs / name).unlink()
    status, errors = run_setup(tree, tmp_path, programs)
    assert status == 1
    assert_one_sentence(errors, "No C++ compiler", "sudo apt install g++")


def test_unreachable_index_is_told_apart_and_leaves_no_stamp(tree: Path, tmp_path: Path, programs: Path) -> None:
    status, errors = run_setup(
        tree,
        tmp_path,
        programs,
        PIP_CONFIG_FILE=os.devnull,
        PIP_INDEX_URL="http://127.0.0.1:9/simple",
        PIP_EXTRA_INDEX_URL="",
        PIP_FIND_LINKS="",
        PIP_RETRIES="1",
        PIP_NO_CACHE_DIR="1",
    )
    assert status == 1
    assert_one_sentence(errors, "cannot reach the package index", "packages.txt")
    assert (tree / ".venv").is_dir()
    assert not (tree / ".venv" / "packages.stamp").exists()


@pytest.fixture
def silent_index() -> Iterator[str]:
    """Address of a server that accepts and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/simple"


def test_interrupt_says_how_to_go_on(tree: Path, tmp_path: Path, programs: Path, silent_index: str) -> None:
    environment = bare_environment(
        tmp_path / "home",
        PATH=str(programs),
        PIP_CONFIG_FILE=os.devnull,
        PIP_INDEX_URL=silent_index,
        PIP_EXTRA_INDEX_URL="",
        PIP_FIND_LINKS="",
    )
    with subprocess.Popen(
        ["/bin/sh", "scripts/setup.sh"],
        cwd=tree,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()  # the virtual environment is made; pip begins
        assert "virtual environment" in line
        assert process.stdout.read(len("setup: packages")) == "setup: packages"
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert_one_sentence(errors, "Interrupted", "make setup")
    assert not (tree / ".venv" / "packages.stamp").exists()


def test_path_with_a_space_is_refused(tmp_path: Path, programs: Path) -> None:
    tree = copy_sources(tmp_path / "my tree")
    status, errors = run_setup(tree, tmp_path, programs)
    assert status == 1
    assert_one_sentence(errors, "space", "move it")


def test_other_ros_distribution_is_refused(tree: Path, tmp_path: Path, programs: Path) -> None:
    status, errors = run_setup(tree, tmp_path, programs, ROS_DISTRO="humble", AMENT_PREFIX_PATH="/opt/ros/humble")
    assert status == 1
    assert_one_sentence(errors, "ROS 2 humble is sourced", "Jazzy")


def test_sourced_ros_without_rclpy_is_refused(tree: Path, tmp_path: Path, programs: Path) -> None:
    prefix = tmp_path / "ros"
    prefix.mkdir()
    status, errors = run_setup(tree, tmp_path, programs, ROS_DISTRO="jazzy", AMENT_PREFIX_PATH=str(prefix))
    assert status == 1
    assert_one_sentence(errors, "holds rclpy", "ros-jazzy-rclpy")


def test_sourced_ros_of_a_python_that_is_not_installed_is_refused(tree: Path, tmp_path: Path, programs: Path) -> None:
    prefix = tmp_path / "ros"
    (prefix / "lib" / "python3.99" / "site-packages" / "rclpy").mkdir(parents=True)
    status, errors = run_setup(tree, tmp_path, programs, ROS_DISTRO="jazzy", AMENT_PREFIX_PATH=str(prefix))
    assert status == 1
    assert_one_sentence(errors, "built for Python 3.99", "python3.99")
