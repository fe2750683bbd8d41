"""What makes the set-up run again, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from environment.layout import Layout
from environment.packages import requirement_files
from environment.ros_source import RosSource
from environment.stamp import build_key, changed_parts, is_current, packages_key, write_stamp
from tree_copy import copy_sources

WHEELS = RosSource()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(root=copy_sources(tmp_path / "tree"))


def packages_key_of(layout: Layout, ros: RosSource = WHEELS) -> str:
    return packages_key(layout, ros, requirement_files(layout, ros, has_colcon=False))


def test_edited_python_code_needs_no_build(layout: Layout) -> None:
    before = build_key(layout, "packages")
    (layout.root / "gps_denied_inference" / "__init__.py").write_text("edited = True\n")
    assert build_key(layout, "packages") == before


@pytest.mark.parametrize("name", ["gps_denied_inference/new.py", "launch/new.launch.py", "msg/New.msg", "srv/New.srv"])
def test_new_file_needs_a_build(layout: Layout, name: str) -> None:
    before = build_key(layout, "packages")
    (layout.root / name).parent.mkdir(exist_ok=True)
    (layout.root / name).write_text("")
    assert build_key(layout, "packages") != before


@pytest.mark.parametrize(
    "name", ["msg/ThermalState.msg", "CMakeLists.txt", "package.xml", "executables/launcher.py.in"]
)
def test_edited_source_of_the_build_needs_a_build(layout: Layout, name: str) -> None:
    before = build_key(layout, "packages")
    with (layout.root / name).open("a") as file:
        file.write("\n")
    assert build_key(layout, "packages") != before


def test_edited_requirements_install_anew_and_are_named(layout: Layout) -> None:
    stamp = layout.root / "stamp"
    write_stamp(stamp, packages_key_of(layout))
    assert is_current(stamp, packages_key_of(layout))
    with (layout.requirements / "torch.txt").open("a") as file:
        file.write("# more\n")
    assert not is_current(stamp, packages_key_of(layout))
    assert changed_parts(stamp, packages_key_of(layout)) == ("torch.txt",)


def test_sourced_ros_installs_anew_without_ros_wheels(layout: Layout) -> None:
    sourced = RosSource(prefix=Path("/opt/ros/jazzy"), python_version="3.12")
    assert packages_key_of(layout, sourced) != packages_key_of(layout)
    names = [file.name for file in requirement_files(layout, sourced, has_colcon=True)]
    assert "ros-wheels.txt" not in names
    assert "colcon.txt" not in names


def test_missing_stamp_is_not_current(tmp_path: Path) -> None:
    assert not is_current(tmp_path / "absent", "key")
    assert changed_parts(tmp_path / "absent", "key") == ()
