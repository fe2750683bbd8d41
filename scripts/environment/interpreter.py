"""Makes sure that the set-up runs in the interpreter that the virtual environment is to be made from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from .failure import SetupError
from .ros_source import RosSource

__all__ = ["use_fitting_interpreter"]


def use_fitting_interpreter(ros: RosSource) -> None:
    """Start again in the sourced ROS's Python, or outside an active virtual environment, where that is another one.

    Raises:
        SetupError: The Python that the sourced rclpy was built for is not installed, or ``PYTHON=`` named another.
    """
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    wanted = ros.python_version or running
    if wanted == running:
        base = getattr(sys, "_base_executable", sys.executable)
        if sys.prefix != sys.base_prefix and os.path.realpath(base) != os.path.realpath(sys.executable):
            _start_again(base)
        return
    if os.environ.get("PYTHON"):
        raise SetupError(
            f"PYTHON={os.environ['PYTHON']} is Python {running} but the sourced ROS is built for Python {wanted}: "
            f"leave PYTHON out, or name a Python {wanted}."
        )
    program = shutil.which(f"python{wanted}")
    if program is None or not _has_version(program, wanted):
        raise SetupError(
            f"The sourced ROS is built for Python {wanted}, which is not installed: install python{wanted} with its "
            f"-dev and -venv packages, or open a shell without ROS to use wheels."
        )
    _start_again(program)


def _has_version(program: str, wanted: str) -> bool:
    code = f"import sys; sys.exit('%d.%d' % sys.version_info[:2] != {wanted!r})"
    return subprocess.run([program, "-S", "-c", code], check=False).returncode == 0


def _start_again(program: str) -> None:
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    environment = {
        **os.environ,
        "PYTHONPATH": folder,
        "PYTHONPATH_OF_CALLER": os.environ.get("PYTHONPATH", ""),
    }
    os.execve(program, [program, "-B", "-S", "-m", "environment", *sys.argv[1:]], environment)
