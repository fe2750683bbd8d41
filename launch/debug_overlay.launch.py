"""The debug overlay: started, and with `autostart` brought to active.

An argument left empty keeps the value of the parameter file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue

from gps_denied_inference.ros.launch_autostart import Autostart
from launch import LaunchContext, LaunchDescription

_YES_OR_NO = ["true", "false", "True", "False"]
_ARGUMENTS = (
    DeclareLaunchArgument(
        "image_transport",
        default_value="",
        choices=["", "raw", "compressed"],
        description="Which of the two image topics is subscribed; empty: as in the parameter file.",
    ),
    DeclareLaunchArgument(
        "namespace", default_value="", description="Namespace of the node; empty: that of the include."
    ),
    DeclareLaunchArgument("node_name", default_value="debug_overlay_node", description="Name of the node."),
    DeclareLaunchArgument(
        "params_file",
        default_value="",
        description="Parameter file (YAML); empty: config/debug_overlay.yaml as installed with the package.",
    ),
    DeclareLaunchArgument(
        "autostart",
        default_value="true",
        choices=_YES_OR_NO,
        description="Configure and activate the node; false: it waits for a lifecycle manager.",
    ),
    DeclareLaunchArgument(
        "respawn",
        default_value="false",
        choices=_YES_OR_NO,
        description="Start the node again, after 2 s, when its process ends.",
    ),
)


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` calls."""
    return LaunchDescription([*_ARGUMENTS, OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list[Any]:
    given = {argument.name: context.launch_configurations[argument.name] for argument in _ARGUMENTS}
    path = Path(given["params_file"]).expanduser()
    if not given["params_file"]:
        path = Path(get_package_share_directory("gps_denied_inference"), "config", "debug_overlay.yaml")
    if not path.is_file():
        raise RuntimeError(f"params_file: '{path}' is not a file: give the path of a YAML parameter file.")
    node = LifecycleNode(
        package="gps_denied_inference",
        executable="debug_overlay_node",
        name=given["node_name"],
        namespace=given["namespace"],
        parameters=[str(path), _overrides(given)],
        output="both",
        respawn=_is_true(given["respawn"]),
        respawn_delay=2.0,
    )
    return [*(Autostart(node).handlers() if _is_true(given["autostart"]) else []), node]


def _overrides(given: dict[str, str]) -> dict[str, Any]:
    types: dict[str, tuple[str, type]] = {
        "image_transport": ("image_transport", str),
    }
    return {
        parameter: _is_true(given[argument]) if kind is bool else ParameterValue(given[argument], value_type=str)
        for argument, (parameter, kind) in types.items()
        if given[argument]
    }


def _is_true(value: str) -> bool:
    return value.lower() == "true"
