"""Checks what the system must bring, before anything is installed."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import sys
import sysconfig
from pathlib import Path

from .failure import SetupError
from .ros_source import RosSource

__all__ = ["MINIMUM_FREE_BYTES", "check_build_tools", "check_prerequisites"]

# Measured: 1.6 GB for the virtual environment with the CPU build of torch, 0.1 GB for build and install; the CUDA
# build needs more, and pip unpacks in the temporary folder.
MINIMUM_FREE_BYTES = 3 * 1024**3
# Shebang lines and the generators' command lines both carry the tree's path; Linux cuts a shebang at 255 bytes.
MAXIMUM_ROOT_LENGTH = 180


def check_prerequisites(root: Path, ros: RosSource, *, is_installed: bool) -> None:
    """Raise on the first thing that is missing.

    Args:
        root: The checkout.
        ros: ROS that will be used.
        is_installed: The virtual environment is complete, so that only the build is left to do.

    Raises:
        SetupError: Names the missing thing and how to get it.
    """
    if any(character.isspace() for character in str(root)) or len(str(root)) > MAXIMUM_ROOT_LENGTH:
        raise SetupError(
            f"The path of this tree has a space in it or more than {MAXIMUM_ROOT_LENGTH} characters, which the ROS "
            f"build tools do not support: move it to a shorter, plain path."
        )
    if not ros.is_sourced and (sys.platform != "linux" or platform.machine() != "x86_64"):
        raise SetupError(
            f"ROS 2 wheels exist for Linux on x86-64 only and this machine is {sys.platform} on {platform.machine()}: "
            f"install ROS 2 Jazzy, source it and run 'make setup' again."
        )
    if shutil.which("c++") is None and shutil.which("g++") is None and shutil.which("clang++") is None:
        raise SetupError("No C++ compiler was found: install one with 'sudo apt install g++' and run again.")
    if shutil.which("cc") is None and shutil.which("gcc") is None and shutil.which("clang") is None:
        raise SetupError("No C compiler was found: install one with 'sudo apt install gcc' and run again.")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.is_file():
        raise SetupError(
            f"The C headers of Python {version} are missing ({header}): install them with "
            f"'sudo apt install python{version}-dev' and run again."
        )
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise SetupError(
            f"Python {version} cannot make virtual environments: install that part with "
            f"'sudo apt install python{version}-venv' and run again."
        )
    if not is_installed:
        free_bytes = shutil.disk_usage(root).free
        if free_bytes < MINIMUM_FREE_BYTES:
            raise SetupError(
                f"Only {free_bytes / 1024**3:.1f} GB are free under {root} and the set-up needs "
                f"{MINIMUM_FREE_BYTES / 1024**3:.0f} GB: make room and run again."
            )


def check_build_tools(ros: RosSource) -> None:
    """The wheels bring cmake and ninja; with a sourced ROS the system must have cmake and make.

    Raises:
        SetupError: Names the missing tool.
    """
    if not ros.is_sourced:
        return
    for program, package in (("cmake", "cmake"), ("make", "make")):
        if shutil.which(program) is None:
            raise SetupError(f"{program} was not found: install it with 'sudo apt install {package}' and run again.")
