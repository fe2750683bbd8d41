"""Builds the ROS package with colcon."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .command import run_logged
from .failure import SetupError
from .layout import PACKAGE_NAME, Layout
from .ros_source import RosSource

__all__ = ["build_environment", "build_workspace", "remove_build"]


def build_environment(layout: Layout, ros: RosSource) -> dict[str, str]:
    """Environment variables for colcon and for programs of the build.

    With wheels, the virtual environment is the only prefix; a sourced ROS keeps its own variables.
    """
    environment = dict(os.environ)
    environment.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None)
    environment["PATH"] = os.pathsep.join([str(layout.venv / "bin"), environment.get("PATH", os.defpath)])
    if not ros.is_sourced:
        environment["AMENT_PREFIX_PATH"] = environment["CMAKE_PREFIX_PATH"] = str(layout.venv)
        for name in ("PYTHONPATH", "LD_LIBRARY_PATH", "COLCON_PREFIX_PATH"):
            environment.pop(name, None)
        return environment
    # A shell after '. ./env.sh' names this tree's own install too; a build must not see its last result.
    own = str(layout.install)
    for name in ("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "COLCON_PREFIX_PATH"):
        entries = [e for e in environment.get(name, "").split(os.pathsep) if e and not e.startswith(own)]
        environment[name] = os.pathsep.join(entries)
        if not entries:
            environment.pop(name)
    return environment


def build_workspace(layout: Layout, ros: RosSource, *, has_colcon: bool) -> None:
    """Run ``colcon build --symlink-install``.

    Raises:
        SetupError: The build failed; the sentence names the likely cause and the log.
    """
    environment = build_environment(layout, ros)
    colcon = "colcon" if ros.is_sourced and has_colcon else str(layout.venv / "bin" / "colcon")
    arguments = [
        *(colcon, "--log-base", str(layout.colcon_log), "build", "--symlink-install"),
        *("--paths", str(layout.root), "--build-base", str(layout.colcon_build)),
        *("--install-base", str(layout.install), "--event-handlers", "console_direct+", "--cmake-args"),
        f"-DPython3_EXECUTABLE={layout.python}",
    ]
    if not ros.is_sourced:
        arguments.append("-GNinja")
    log = layout.logs / "build.txt"
    status, output = run_logged(arguments, log=log, environment=environment, directory=layout.root)
    if status == 0:
        _remove_dangling_links(layout.install)
        return
    if "No space left on device" in output:
        raise SetupError(f"The disk that holds {layout.root} filled up during the build: make room and run again.")
    if "Python.h: No such file" in output or "Could NOT find Python3" in output:
        raise SetupError(
            f"The C headers of Python are missing: install them with 'sudo apt install python3-dev' and run again "
            f"(the build's words are in {log})."
        )
    if "Killed signal terminated program cc1plus" in output:
        raise SetupError(f"The compiler ran out of memory: close other programs and run again (see {log}).")
    raise SetupError(f"The build failed: read {log}, mend what it names and run again.")


def remove_build(layout: Layout) -> None:
    """Remove what an earlier build left; it names the interpreter and the ROS of its day."""
    layout.build_stamp.unlink(missing_ok=True)
    for path in (layout.colcon_build / PACKAGE_NAME, layout.install):
        if path.exists():
            shutil.rmtree(path)


def _remove_dangling_links(folder: Path) -> None:
    """A source file that was removed leaves a link behind in a symlink install."""
    for parent, subfolders, names in os.walk(folder):
        for name in (*subfolders, *names):
            path = Path(parent, name)
            if path.is_symlink() and not path.exists():
                path.unlink()
