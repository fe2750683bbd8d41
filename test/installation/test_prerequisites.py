"""The checks that cannot be provoked by PATH alone."""

from __future__ import annotations

import importlib.util
import shutil
import sysconfig
from pathlib import Path

import pytest
from environment import prerequisites
from environment.failure import SetupError
from environment.layout import Layout
from environment.packages import install_packages
from environment.prerequisites import check_build_tools, check_prerequisites
from environment.ros_source import RosSource

WHEELS = RosSource()


def test_this_machine_passes(tmp_path: Path) -> None:
    check_prerequisites(tmp_path, WHEELS, is_installed=True)


def test_missing_headers_name_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(SetupError, match=r"headers of Python .* are missing .*-dev'"):
        check_prerequisites(tmp_path, WHEELS, is_installed=True)


def test_missing_venv_module_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match=r"cannot make virtual environments.*-venv'"):
        check_prerequisites(tmp_path, WHEELS, is_installed=True)


def test_little_free_disk_is_refused_before_installing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prerequisites, "MINIMUM_FREE_BYTES", shutil.disk_usage(tmp_path).free + 2**40)
    check_prerequisites(tmp_path, WHEELS, is_installed=True)
    with pytest.raises(SetupError, match=r"GB are free .* make room"):
        check_prerequisites(tmp_path, WHEELS, is_installed=False)


def test_sourced_ros_needs_the_systems_cmake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    check_build_tools(WHEELS)
    with pytest.raises(SetupError, match="sudo apt install cmake"):
        check_build_tools(RosSource(prefix=tmp_path, python_version="3.12"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("Temporary failure in name resolution", "cannot reach the package index"),
        ("ERROR: No matching distribution found for torch==2.13.0", "finds no torch==2.13.0"),
        ("something new", "read .*packages.txt"),
    ],
)
def test_words_of_pip_become_one_sentence(tmp_path: Path, words: str, sentence: str) -> None:
    layout = Layout(root=tmp_path)
    layout.python.parent.mkdir(parents=True)
    layout.python.write_text(f'#!/bin/sh\necho "{words}"\nexit 1\n')
    layout.python.chmod(0o755)
    with pytest.raises(SetupError, match=sentence) as caught:
        install_packages(layout, WHEELS, has_colcon=False)
    assert "\n" not in str(caught.value)
    assert words in (layout.logs / "packages.txt").read_text()


def test_old_numpy_of_a_sourced_ros_stays_and_takes_an_opencv_that_fits(tmp_path: Path) -> None:
    layout = Layout(root=tmp_path)
    layout.requirements.mkdir()
    for name in ("runtime", "torch", "tensorrt-rtx", "development", "weights"):
        (layout.requirements / f"{name}.txt").write_text(f"{name}-package==1.0\n")
    (layout.requirements / "runtime.txt").write_text("numpy==2.4.6\nopencv-python-headless==4.14.0.94\n")
    layout.python.parent.mkdir(parents=True)
    # A Python that has numpy 1.26.4, lacks cv2, and whose pip installs whatever it is asked for.
    layout.python.write_text(
        '#!/bin/sh\ncase "$*" in *find_spec*cv2*) exit 1 ;; *m.version*) echo 1.26.4 ;; *) exit 0 ;; esac\n'
    )
    layout.python.chmod(0o755)
    install_packages(layout, RosSource(prefix=tmp_path, python_version="3.12"), has_colcon=True)
    assert (layout.venv / "requirements.txt").read_text().splitlines() == [
        f"-r {layout.requirements}/opencv-with-system-numpy1.txt",
        "torch-package==1.0",
        "tensorrt-rtx-package==1.0",
        "development-package==1.0",
        "numpy==1.26.4",
    ]
