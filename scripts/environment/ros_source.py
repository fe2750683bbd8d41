"""Which ROS 2 the tree is built with: the one that is sourced, or wheels."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .failure import SetupError

__all__ = ["SUPPORTED_DISTRO", "RosSource", "find_ros_source"]

SUPPORTED_DISTRO = "jazzy"


@dataclass(frozen=True, slots=True)
class RosSource:
    """A sourced ROS, or none.

    Attributes:
        prefix: Prefix that holds the sourced rclpy; ``None`` where wheels are used.
        python_version: Minor version ("3.12") the sourced rclpy was built for.
    """

    prefix: Path | None = None
    python_version: str | None = None

    @property
    def is_sourced(self) -> bool:
        return self.prefix is not None

    def __str__(self) -> str:
        return f"sourced:{self.prefix}:{self.python_version}" if self.is_sourced else "wheels"


def find_ros_source(environment: Mapping[str, str], own_prefixes: tuple[Path, ...] = ()) -> RosSource:
    """Decide from the environment variables of a sourced ROS.

    Args:
        environment: Usually ``os.environ``.
        own_prefixes: Prefixes of this tree's own set-up, which a shell after ``. ./env.sh`` names too.

    Raises:
        SetupError: ROS is sourced, but another distribution or an incomplete one.
    """
    own = {os.path.realpath(path) for path in own_prefixes}
    prefixes = [
        Path(entry)
        for entry in environment.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
        if entry and os.path.realpath(entry) not in own
    ]
    if not prefixes:
        return RosSource()
    distro = environment.get("ROS_DISTRO", "")
    if not distro:
        return RosSource()
    if distro != SUPPORTED_DISTRO:
        raise SetupError(
            f"ROS 2 {distro} is sourced but this package is for ROS 2 {SUPPORTED_DISTRO.capitalize()}: "
            f"source /opt/ros/{SUPPORTED_DISTRO}/setup.sh instead, or open a shell without ROS to use wheels."
        )
    for prefix in prefixes:
        version = rclpy_python_version(prefix)
        if version is not None:
            return RosSource(prefix=prefix.resolve(), python_version=version)
    raise SetupError(
        f"ROS 2 {distro} is sourced but none of its prefixes in AMENT_PREFIX_PATH holds rclpy: "
        f"install ros-{distro}-rclpy, or open a shell without ROS to use wheels."
    )


def rclpy_python_version(prefix: Path) -> str | None:
    """Minor Python version of the rclpy under a prefix, or ``None`` when it holds none."""
    for pattern in ("lib/python3.*/*-packages/rclpy", "local/lib/python3.*/*-packages/rclpy"):
        for directory in sorted(prefix.glob(pattern)):
            match = re.search(r"/python(3\.\d+)/", directory.as_posix())
            if match:
                return match.group(1)
    return None
