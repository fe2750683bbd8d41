"""One inference node: started, and with `autostart` brought to active.

An argument left empty keeps the value of the parameter file. Arguments of an included launch file stay set after the
include; to start two nodes in one launch, put each include into a `GroupAction(scoped=True)`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import launch.logging
from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, EmitEvent, OpaqueFunction, RegisterEventHandler
from launch.event_handlers import OnProcessExit, OnProcessStart
from launch.events import matches_action
from launch_ros.actions import LifecycleNode
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.ros_adapters import get_ros_node
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import GetState
from rclpy.exceptions import InvalidTopicNameException
from rclpy.validate_topic_name import validate_topic_name

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
        "respawn",
        default_value="false",
        choices=_YES_OR_NO,
        description="Start the node again, after 2 s, when its process ends.",
    ),
)

_RESPAWN_DELAY_S = 2.0
_ANSWER_TIMEOUT_S = 1.0
_LOGGER = launch.logging.get_logger("inference.launch")


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
        output="both",
        respawn=_is_true(given["respawn"]),
        respawn_delay=_RESPAWN_DELAY_S,
    )
    return [*(_Autostart(node).handlers() if _is_true(given["autostart"]) else []), node]


def _is_true(value: str) -> bool:
    return value.lower() == "true"


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


class _Autostart:
    """Configures a node as often as its process starts, and activates it after a configure that succeeded.

    Only the configure that was asked for here is followed by an activate: who configures by hand later decides alone.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        self._is_under_way = False
        self._process_ended = threading.Event()
        self._get_state: Any = None

    def handlers(self) -> list[RegisterEventHandler]:
        """What must be registered before the node starts."""
        return [
            RegisterEventHandler(OnProcessStart(target_action=self._node, on_start=self._on_start)),
            RegisterEventHandler(OnProcessExit(target_action=self._node, on_exit=self._on_exit)),
            self._on_transition("configuring", "inactive", self._on_configured),
            self._on_transition("configuring", "unconfigured", self._on_not_configured),
            self._on_transition("configuring", "errorprocessing", self._on_not_configured),
            self._on_transition("activating", "active", self._on_active),
            self._on_transition("activating", "inactive", self._on_not_activated),
            self._on_transition("activating", "errorprocessing", self._on_not_activated),
        ]

    def _on_transition(
        self, start_state: str, goal_state: str, function: Callable[[LaunchContext], list[EmitEvent] | None]
    ) -> RegisterEventHandler:
        return RegisterEventHandler(
            OnStateTransition(
                target_lifecycle_node=self._node,
                start_state=start_state,
                goal_state=goal_state,
                entities=[OpaqueFunction(function=lambda context: function(context) if self._is_under_way else None)],
            )
        )

    def _on_start(self, _event: Any, context: LaunchContext) -> None:
        self._is_under_way = True
        self._process_ended = threading.Event()
        if self._get_state is None:
            self._get_state = get_ros_node(context).create_client(GetState, f"{self._node.node_name}/get_state")
        waiting = context.asyncio_loop.run_in_executor(None, self._configure_when_up, context, self._process_ended)
        context.add_completion_future(waiting)

    def _on_exit(self, event: Any, context: LaunchContext) -> None:
        self._process_ended.set()
        if self._is_under_way and event.returncode != 0 and not context.is_shutdown:
            _LOGGER.error(
                f"{self._node.node_name} ended ({event.returncode}) before it was active: its last lines say why."
            )
        self._is_under_way = False

    def _configure_when_up(self, context: LaunchContext, process_ended: threading.Event) -> None:
        """Ask for configure as soon as the node answers.

        A ChangeState event alone would wait without end for a node that died at once, and for the answer of a crashed
        one whose services stay visible for a while after its successor has started.
        """
        while not (context.is_shutdown or process_ended.is_set()):
            if self._get_state.wait_for_service(timeout_sec=_ANSWER_TIMEOUT_S) and self._is_answering():
                configure = self._change_state(Transition.TRANSITION_CONFIGURE)
                context.asyncio_loop.call_soon_threadsafe(context.emit_event_sync, configure)
                return

    def _is_answering(self) -> bool:
        answered = threading.Event()
        answer = self._get_state.call_async(GetState.Request())
        answer.add_done_callback(lambda _: answered.set())
        if answered.wait(_ANSWER_TIMEOUT_S):
            return True
        self._get_state.remove_pending_request(answer)
        return False

    def _change_state(self, transition_id: int) -> ChangeState:
        return ChangeState(lifecycle_node_matcher=matches_action(self._node), transition_id=transition_id)

    def _on_configured(self, _context: LaunchContext) -> list[EmitEvent]:
        return [EmitEvent(event=self._change_state(Transition.TRANSITION_ACTIVATE))]

    def _on_active(self, _context: LaunchContext) -> None:
        self._is_under_way = False
        _LOGGER.info(f"{self._node.node_name} is active.")

    def _on_not_configured(self, _context: LaunchContext) -> None:
        self._give_up("could not be configured", "unconfigured", "configure, then activate")

    def _on_not_activated(self, _context: LaunchContext) -> None:
        self._give_up("could not be activated", "not active", "activate")

    def _give_up(self, what: str, state: str, remedy: str) -> None:
        self._is_under_way = False
        name = self._node.node_name
        _LOGGER.error(
            f"{name} {what}: its log says why. It stays {state}; mend the cause and bring it up with "
            f"'ros2 lifecycle set {name} ...' ({remedy}), or end this launch with Ctrl-C."
        )
