"""Refinement: started, and with `autostart` brought to active.

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
        "index", default_value="", description="Path of the map's index; empty: as in the parameter file."
    ),
    DeclareLaunchArgument(
        "maps",
        default_value="",
        description="Paths of the maps that the index was built from, with ':' between them; empty: as in the "
        "parameter file.",
    ),
    DeclareLaunchArgument(
        "image_transport",
        default_value="",
        choices=["", "raw", "compressed"],
        description="Which of the two image topics is subscribed; empty: as in the parameter file.",
    ),
    DeclareLaunchArgument(
        "model", default_value="", description="Network that matches two images; empty: as in the parameter file."
    ),
    DeclareLaunchArgument(
        "engine_store",
        default_value="",
        description="Folder that 'gdi engine build' filled; empty: as in the parameter file.",
    ),
    DeclareLaunchArgument(
        "allow_cpu_fallback",
        default_value="",
        choices=["", *_YES_OR_NO],
        description="Run on the CPU when the requested device is absent; empty: as in the parameter file.",
    ),
    DeclareLaunchArgument(
        "allow_ungated",
        default_value="",
        choices=["", *_YES_OR_NO],
        description="Run a bare checkpoint (desk and demo use, not for flight); empty: as in the parameter file.",
    ),
    DeclareLaunchArgument(
        "namespace", default_value="", description="Namespace of the node; empty: that of the include."
    ),
    DeclareLaunchArgument("node_name", default_value="refinement_node", description="Name of the node."),
    DeclareLaunchArgument(
        "params_file",
        default_value="",
        description="Parameter file (YAML); empty: config/refinement.yaml as installed with the package.",
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
        path = Path(get_package_share_directory("gps_denied_inference"), "config", "refinement.yaml")
    if not path.is_file():
        raise RuntimeError(f"params_file: '{path}' is not a file: give the path of a YAML parameter file.")
    node = LifecycleNode(
        package="gps_denied_inference",
        executable="refinement_node",
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
        "index": ("index", str),
        "maps": ("maps", tuple),
        "image_transport": ("image_transport", str),
        "model": ("primary.model", str),
        "engine_store": ("engine_store", str),
        "allow_cpu_fallback": ("allow_cpu_fallback", bool),
        "allow_ungated": ("allow_ungated", bool),
    }
    return {
        parameter: _value(given[argument], kind) for argument, (parameter, kind) in types.items() if given[argument]
    }


def _value(text: str, kind: type) -> Any:
    if kind is bool:
        return _is_true(text)
    return text.split(":") if kind is tuple else ParameterValue(text, value_type=str)


def _is_true(value: str) -> bool:
    return value.lower() == "true"
