"""Mends the cmake files of the ROS wheels, which carry paths of the machine that built them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from .layout import Layout

__all__ = ["mend_cmake_paths", "replace_build_machine_paths"]

NUMPY_INCLUDE = re.compile(r"/opt/python/cp3\d+-cp3\d+/lib/python3\.\d+/site-packages/numpy/_core/include")
PYTHON_INCLUDE = re.compile(r"/opt/python/cp3\d+-cp3\d+/include/python3\.\d+")


def replace_build_machine_paths(text: str, *, numpy_include: str, python_include: str) -> str:
    """The text with this machine's include folders; unchanged where it names none of the other's."""
    text = NUMPY_INCLUDE.sub(lambda _: numpy_include, text)
    return PYTHON_INCLUDE.sub(lambda _: python_include, text)


def mend_cmake_paths(layout: Layout) -> int:
    """Rewrite the cmake files under the virtual environment.

    Returns:
        Number of files changed; 0 on a second call.
    """
    code = "import numpy, sysconfig; print(numpy.get_include()); print(sysconfig.get_path('include'))"
    answer = subprocess.run([layout.python, "-c", code], check=True, capture_output=True, text=True)
    numpy_include, python_include = answer.stdout.splitlines()
    changed = 0
    for file in sorted((layout.venv / "share").rglob("*.cmake")):
        changed += _mend_file(file, numpy_include, python_include)
    return changed


def _mend_file(file: Path, numpy_include: str, python_include: str) -> bool:
    before = file.read_text(encoding="utf-8")
    after = replace_build_machine_paths(before, numpy_include=numpy_include, python_include=python_include)
    if after == before:
        return False
    file.write_text(after, encoding="utf-8")
    return True
