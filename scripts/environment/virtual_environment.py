"""Makes the virtual environment."""

from __future__ import annotations

import os
import shutil
import sys

from .command import run_logged
from .failure import SetupError
from .layout import Layout
from .ros_source import RosSource

__all__ = ["make_virtual_environment"]


def make_virtual_environment(layout: Layout, ros: RosSource) -> None:
    """Make ``.venv`` anew with the running interpreter; an old or half-made one is removed first.

    Where ROS is sourced, the system's packages (numpy, OpenCV, cv_bridge's needs) stay visible.

    Raises:
        SetupError: Python's venv module failed.
    """
    if layout.venv.exists():
        shutil.rmtree(layout.venv)
    arguments = [sys.executable, "-m", "venv", str(layout.venv)]
    if ros.is_sourced:
        arguments.insert(3, "--system-site-packages")
    status, output = run_logged(arguments, log=layout.logs / "venv.txt", environment=os.environ, directory=layout.root)
    if status == 0:
        return
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if "ensurepip" in output:
        raise SetupError(
            f"Python {version} cannot make virtual environments: install that part with "
            f"'sudo apt install python{version}-venv' and run again."
        )
    if "No space left" in output:
        raise SetupError(f"The disk that holds {layout.root} is full: make room and run again.")
    raise SetupError(f"'{' '.join(arguments)}' failed: read {layout.logs / 'venv.txt'} and run again.")
