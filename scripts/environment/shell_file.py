"""Writes what ``env.sh`` must know about the set-up."""

from __future__ import annotations

from .layout import Layout
from .ros_source import RosSource

__all__ = ["write_shell_file"]


def write_shell_file(layout: Layout, ros: RosSource) -> None:
    """Write shell assignments; ``gdi_ros_prefix`` is empty where ROS comes from wheels."""
    text = f"gdi_ros_prefix='{ros.prefix or ''}'\n"
    layout.environment_file.write_text(text, encoding="utf-8")
