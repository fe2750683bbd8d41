"""The thermal monitor: started, and with `autostart` brought to active.

An argument left empty keeps the value of the parameter file, or the node's default.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue

from gps_denied_inference.ros.launch_autostart import Autostart
from launch import LaunchContext, LaunchDescription

_ARGUMENTS = (
    DeclareLaunchArgument(
        "namespace", default_value="", description="Namespace of the node; empty: that of the include."
    ),
    DeclareLaunchArgument("node_name", default_value="thermal_monitor", description="Name of the node."),
    DeclareLaunchArgument(
        "thermal_timeline",
        default_value="",
        description="YAML timeline to play instead of reading the computer (desk and demo use); empty: read it.",
    ),
    DeclareLaunchArgument(
        "params_file", default_value="", description="Parameter file (YAML); empty: the node's defaults."
    ),
    DeclareLaunchArgument(
        "autostart",
        default_value="true",
        choices=["true", "false", "True", "False"],
        description="Configure and activate the node; false: it waits for a lifecycle manager.",
    ),
    DeclareLaunchArgument(
        "respawn",
        default_value="false",
        choices=["true", "false", "True", "False"],
        description="Start the node again, after 2 s, when its process ends.",
    ),
)


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` calls."""
    return LaunchDescription([*_ARGUMENTS, OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list[Any]:
    given = {argument.name: context.launch_configurations[argument.name] for argument in _ARGUMENTS}
    parameters: list[Any] = []
    if given["params_file"]:
        path = Path(given["params_file"]).expanduser()
        if not path.is_file():
            raise RuntimeError(f"params_file: '{path}' is not a file: give the path of a YAML parameter file.")
        parameters.append(str(path))
    if given["thermal_timeline"]:
        timeline = ParameterValue(given["thermal_timeline"], value_type=str)
        parameters.append({"thermal_sources": ["scripted"], "thermal_timeline": timeline})
    node = LifecycleNode(
        package="gps_denied_inference",
        executable="thermal_monitor_node",
        name=given["node_name"],
        namespace=given["namespace"],
        parameters=parameters,
        output="both",
        respawn=given["respawn"].lower() == "true",
        respawn_delay=2.0,
    )
    return [*(Autostart(node).handlers() if given["autostart"].lower() == "true" else []), node]
