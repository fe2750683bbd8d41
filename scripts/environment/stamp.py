"""Stamps: files that hold a hash of everything a finished step depended on."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from .layout import PACKAGE_NAME, Layout
from .ros_source import RosSource

__all__ = ["build_key", "changed_parts", "is_current", "packages_key", "write_stamp"]

# Raise it when the way of installing changes in a manner that old environments do not show.
FORMAT = "1"

# Their content is compiled or copied by the build. Python, launch and config files are links into the tree, so that
# only their names count.
COMPILED = ("CMakeLists.txt", "package.xml", "msg", "srv", "executables")
LINKED = (PACKAGE_NAME, "launch", "config")


def packages_key(layout: Layout, ros: RosSource, requirements: Iterable[Path]) -> str:
    """What the virtual environment depends on, a line each, so that a difference can be named."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    lines = [
        f"set-up format: {FORMAT}",
        f"folder: {layout.root}",
        f"ROS: {ros}",
        f"Python: {version} {os.path.realpath(sys.executable)}",
    ]
    for file in (*requirements, layout.requirements / "weights.txt"):
        lines.append(f"{file.name}: {hashlib.sha256(file.read_bytes()).hexdigest()}")
    return "\n".join(lines) + "\n"


def changed_parts(stamp: Path, key: str) -> tuple[str, ...]:
    """Names of the lines that differ from those of the last finished set-up; none where there was none."""
    try:
        before = set(stamp.read_text(encoding="utf-8").splitlines())
    except (FileNotFoundError, NotADirectoryError):
        return ()
    difference = before.symmetric_difference(key.splitlines())
    return tuple(sorted({line.partition(":")[0] for line in difference}))


def build_key(layout: Layout, packages: str) -> str:
    """Hash of what the colcon build depends on."""
    digest = hashlib.sha256(packages.encode())
    for name in COMPILED:
        for file in _files(layout.root / name):
            digest.update(str(file.relative_to(layout.root)).encode() + b"\0" + file.read_bytes())
    for name in LINKED:
        for file in _files(layout.root / name):
            digest.update(str(file.relative_to(layout.root)).encode() + b"\0")
    return digest.hexdigest()


def is_current(stamp: Path, key: str) -> bool:
    """Whether the step that wrote the stamp finished with this key."""
    try:
        return stamp.read_text(encoding="utf-8") == key
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
        return False


def write_stamp(stamp: Path, key: str) -> None:
    """Write the stamp whole or not at all."""
    temporary = stamp.with_name(stamp.name + ".new")
    temporary.write_text(key, encoding="utf-8")
    os.replace(temporary, stamp)


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for folder, subfolders, names in os.walk(path):
        subfolders[:] = sorted(name for name in subfolders if name != "__pycache__")
        for name in sorted(names):
            if not name.endswith((".pyc", "~", ".swp")):
                yield Path(folder, name)
