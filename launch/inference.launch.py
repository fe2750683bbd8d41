"""One inference node: started, and with `autostart` brought to active.

An argument left empty keeps the value of the parameter file. Arguments of an included launch file stay set after the
include; to start two nodes in one launch, put each include into a `GroupAction(scoped=True)`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue
from rclpy.exceptions import InvalidTopicNameException
from rclpy.validate_topic_name import validate_topic_name

from gps_denied_inference.ros.launch_autostart import Autostart
from gps_denied_inference.ros.transport_profile import PROFILE_VARIABLES, has_profile, large_image_profile
from launch import LaunchContext, LaunchDescription

_YES_OR_NO = ["true", "false", "True", "False"]
_ARGUMENTS = (
    DeclareLaunchArgument(
        "runtime",
        default_value="",
        choices=["", "pytorch_fp16", "tensorrt", "onnx_trt_ep", "fake"],
        description="Runtime of the engine 'primary'; empty: as in the parameter file.",
    ),
    DeclareLaunchArgument(
        "model",
        default_value="",
        description="Architecture of the engine 'primary' ('gdi models' lists them); empty: as in the parameter file.",
    ),
    DeclareLaunchArgument(
        "checkpoint",
        default_value="",
        description="Checkpoint of the engine 'primary' (for the runtime 'fake': its script); empty: as in the "
        "parameter file.",
    ),
    DeclareLaunchArgument(
        "engine_store",
        default_value="",
        description="Folder that 'gdi engine build' filled; empty: as in the parameter file.",
    ),
    DeclareLaunchArgument(
        "image_topic",
        default_value="",
        description="Topic of the camera's sensor_msgs/Image; compressed images are expected beside it, in "
        "IMAGE_TOPIC/compressed. Empty: 'image' in the node's namespace.",
    ),
    DeclareLaunchArgument(
        "image_transport",
        default_value="",
        choices=["", "raw", "compressed"],
        description="Which of the two image topics is subscribed; empty: as in the parameter file.",
    ),
    DeclareLaunchArgument(
        "camera_id",
        default_value="",
        description="Name of the camera in the messages; empty: as in the parameter file.",
    ),
    DeclareLaunchArgument(
        "namespace", default_value="", description="Namespace of the node; empty: that of the include."
    ),
    DeclareLaunchArgument("node_name", default_value="inference_node", description="Name of the node."),
    DeclareLaunchArgument(
        "autostart",
        default_value="true",
        choices=_YES_OR_NO,
        description="Configure and activate the node; false: it waits for a lifecycle manager.",
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
        description="Run a bare checkpoint that did not pass the engine gate (desk and demo use, not for flight); "
        "empty: as in the parameter file.",
    ),
    DeclareLaunchArgument(
        "use_sim_time",
        default_value="",
        choices=["", *_YES_OR_NO],
        description="Take the time from /clock; empty: as in the parameter file.",
    ),
    DeclareLaunchArgument(
        "params_file",
        default_value="",
        description="Parameter file (YAML); empty: config/inference.yaml as installed with the package.",
    ),
    DeclareLaunchArgument(
        "log_level",
        default_value="",
        choices=["", "debug", "info", "warn", "error", "fatal"],
        description="Least severity that the node logs; empty: info.",
    ),
    DeclareLaunchArgument(
        "large_image_profile",
        default_value="true",
        choices=_YES_OR_NO,
        description="Give the node the Fast DDS profile config/fast_dds_large_images.xml, unless one was chosen by "
        "FASTRTPS_DEFAULT_PROFILES_FILE; the camera driver's process needs it, too.",
    ),
    DeclareLaunchArgument(
        "respawn",
        default_value="false",
        choices=_YES_OR_NO,
        description="Start the node again, after 2 s, when its process ends.",
    ),
)

_RESPAWN_DELAY_S = 2.0


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` calls."""
    return LaunchDescription([*_ARGUMENTS, OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list[Any]:
    # All arguments are read here, once: event handlers run after the scope of a GroupAction is left.
    given = {argument.name: context.launch_configurations[argument.name] for argument in _ARGUMENTS}
    node = LifecycleNode(
        package="gps_denied_inference",
        executable="inference_node",
        name=given["node_name"],
        namespace=given["namespace"],
        parameters=[_parameter_file(given["params_file"]), _overrides(given)],
        remappings=_remappings(given["image_topic"]),
        ros_arguments=["--log-level", given["log_level"]] if given["log_level"] else [],
        additional_env=_transport(_is_true(given["large_image_profile"])),
        output="both",
        respawn=_is_true(given["respawn"]),
        respawn_delay=_RESPAWN_DELAY_S,
    )
    return [*(Autostart(node).handlers() if _is_true(given["autostart"]) else []), node]


def _is_true(value: str) -> bool:
    return value.lower() == "true"


def _transport(is_wanted: bool) -> dict[str, str]:
    """Variables for the node's process; a profile that the user chose stays."""
    profile = large_image_profile() if is_wanted and not has_profile() else None
    return {} if profile is None else dict.fromkeys(PROFILE_VARIABLES, str(profile))


def _parameter_file(value: str) -> str:
    """The path of a file that exists; launch_ros would only warn, and start the node on its defaults."""
    if not value:
        return str(Path(get_package_share_directory("gps_denied_inference"), "config", "inference.yaml"))
    path = Path(value).expanduser()
    if not path.is_file():
        raise RuntimeError(f"params_file: '{value}' is not a file: give the path of a YAML parameter file.")
    return str(path)


def _overrides(given: dict[str, str]) -> dict[str, Any]:
    """Parameters of the arguments that were given, each with its type: '12' is a fine camera_id and no number."""
    types: dict[str, tuple[str, type]] = {
        "runtime": ("primary.runtime", str),
        "model": ("primary.model", str),
        "checkpoint": ("primary.checkpoint", str),
        "engine_store": ("engine_store", str),
        "image_transport": ("image_transport", str),
        "camera_id": ("camera_id", str),
        "allow_cpu_fallback": ("allow_cpu_fallback", bool),
        "allow_ungated": ("allow_ungated", bool),
        "use_sim_time": ("use_sim_time", bool),
    }
    return {
        parameter: _is_true(given[argument]) if kind is bool else ParameterValue(given[argument], value_type=str)
        for argument, (parameter, kind) in types.items()
        if given[argument]
    }


def _remappings(image_topic: str) -> list[tuple[str, str]]:
    if not image_topic:
        return []
    try:
        validate_topic_name(image_topic)
    except InvalidTopicNameException as error:
        raise RuntimeError(f"image_topic: '{image_topic}' is not the name of a topic: {error}") from error
    return [("image", image_topic), ("image/compressed", f"{image_topic}/compressed")]
