"""`launch/inference.launch.py`: read as text everywhere, run where `ros2 launch` is installed."""

import ast
import importlib.util
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from node_harness import Client, NodeProcess, wait_for
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters

from gps_denied_inference.core.contracts import RuntimeLabel

_ROOT = Path(__file__).resolve().parents[2]
_LAUNCH_FILE = _ROOT / "launch" / "inference.launch.py"
_DEFAULTS = {
    "runtime": "",
    "model": "",
    "checkpoint": "",
    "engine_store": "",
    "image_topic": "",
    "image_transport": "",
    "camera_id": "",
    "namespace": "",
    "node_name": "inference_node",
    "autostart": "true",
    "allow_cpu_fallback": "",
    "allow_ungated": "",
    "use_sim_time": "",
    "params_file": "",
    "log_level": "",
    "large_image_profile": "true",
    "respawn": "false",
}
needs_launch = pytest.mark.skipif(
    importlib.util.find_spec("launch_ros") is None or shutil.which("ros2") is None,
    reason="launch_ros and ros2cli are not installed (they come with a sourced ROS, not as wheels)",
)
Launch = Callable[..., NodeProcess]


def test_arguments_are_the_known_ones_with_their_defaults_and_a_description() -> None:
    declared = {}
    for call in _calls("DeclareLaunchArgument"):
        keywords = {keyword.arg: keyword.value for keyword in call.keywords}
        declared[ast.literal_eval(call.args[0])] = ast.literal_eval(keywords["default_value"])
        assert str(ast.literal_eval(keywords["description"])).endswith(".")
    assert declared == _DEFAULTS


def test_runtimes_to_choose_from_are_those_of_the_package() -> None:
    (call,) = (call for call in _calls("DeclareLaunchArgument") if ast.literal_eval(call.args[0]) == "runtime")
    (choices,) = (ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg == "choices")
    assert choices == ["", *(label.value for label in RuntimeLabel)]


def test_autostart_of_launch_ros_is_not_used_because_it_came_late_to_jazzy() -> None:
    (call,) = _calls("LifecycleNode")
    assert "autostart" not in {keyword.arg for keyword in call.keywords}


def _calls(name: str) -> list[ast.Call]:
    tree = ast.parse(_LAUNCH_FILE.read_text(), filename=str(_LAUNCH_FILE))
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    ]


@pytest.fixture
def launch(domain_id: int, tmp_path: Path) -> Iterator[Launch]:
    """Starts `ros2 launch` in a process group of its own, as a terminal does."""
    started: list[NodeProcess] = []

    def start(*arguments: str, file: Path = _LAUNCH_FILE) -> NodeProcess:
        log_path = tmp_path / f"launch_{len(started)}.log"
        variables = {**os.environ, "ROS_DOMAIN_ID": str(domain_id), "ROS_LOG_DIR": str(tmp_path)}
        variables["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        command = ["ros2", "launch", str(file), *arguments]
        with log_path.open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=variables, start_new_session=True)
        started.append(NodeProcess(process, log_path))
        return started[-1]

    yield start
    for launched in started:
        if launched.process.poll() is None:
            os.killpg(launched.pid, signal.SIGKILL)
            launched.process.wait()


@pytest.fixture
def fake(tmp_path: Path) -> tuple[str, ...]:
    """Arguments of a node that runs the fake runtime."""
    script = tmp_path / "script.yaml"
    script.write_text("latency_ms: 5.0\n")
    return ("runtime:=fake", f"checkpoint:={script}", "allow_ungated:=true")


@needs_launch
def test_launch_brings_the_node_to_active_and_ctrl_c_ends_it_with_status_0(
    client: Client, launch: Launch, fake: tuple[str, ...]
) -> None:
    launched = launch(*fake, "image_topic:=/camera/image_raw")
    launched.wait_for_log("/inference_node is active.")
    assert client.state() == "active"
    wait_for(lambda: client.node.count_subscribers("/camera/image_raw"), "the remapped subscription")
    assert _ctrl_c(launched) == 0
    assert "process has finished cleanly" in launched.log
    assert "Traceback" not in launched.log


@needs_launch
def test_compressed_topic_lies_beside_the_image_topic(client: Client, launch: Launch, fake: tuple[str, ...]) -> None:
    launch(*fake, "image_topic:=camera", "image_transport:=compressed", "namespace:=uav").wait_for_log("is active.")
    wait_for(lambda: client.node.count_subscribers("/uav/camera/compressed"), "the remapped subscription")


@needs_launch
def test_two_scoped_includes_live_side_by_side_and_share_no_argument(
    client: Client, launch: Launch, fake: tuple[str, ...], tmp_path: Path
) -> None:
    parent = tmp_path / "pair.launch.py"
    shared = dict(argument.split(":=") for argument in fake)
    parent.write_text(f"""
from launch import LaunchDescription
from launch.actions import GroupAction, IncludeLaunchDescription

def generate_launch_description():
    return LaunchDescription([
        GroupAction(
            [IncludeLaunchDescription({str(_LAUNCH_FILE)!r}, launch_arguments=({shared!r} | own).items())],
            scoped=True,
        )
        for own in (
            {{"namespace": "nadir", "camera_id": "12", "image_topic": "down"}},
            {{"namespace": "front", "node_name": "eyes"}},
        )
    ])
""")
    launched = launch(file=parent)
    launched.wait_for_log("/nadir/inference_node is active.")
    launched.wait_for_log("/front/eyes is active.")
    # A number to YAML, and text all the same.
    assert _parameter(client, "/nadir/inference_node", "camera_id").string_value == "12"
    assert _parameter(client, "/front/eyes", "camera_id").string_value == ""
    wait_for(lambda: client.node.count_subscribers("/nadir/down"), "the remapped subscription")
    wait_for(lambda: client.node.count_subscribers("/front/image"), "the other subscription")
    assert _ctrl_c(launched) == 0
    assert launched.log.count("process has finished cleanly") == 2


@needs_launch
def test_arguments_beat_the_parameter_file_and_empty_ones_keep_it(
    client: Client, launch: Launch, fake: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    # Under the node's own name, which in ROS is stronger than the wildcard.
    file.write_text(
        "/uav/inference_node:\n  ros__parameters:\n    camera_id: from_file\n    max_frame_age_ms: 123.0\n"
        "    allow_cpu_fallback: true\n    primary:\n      runtime: tensorrt\n"
    )
    launched = launch(*fake, f"params_file:={file}", "namespace:=uav", "camera_id:=given", "autostart:=false")
    node = "/uav/inference_node"
    assert client.state(node) == "unconfigured"
    assert _parameter(client, node, "primary.runtime").string_value == "fake"
    assert _parameter(client, node, "camera_id").string_value == "given"
    assert _parameter(client, node, "max_frame_age_ms").double_value == 123.0
    allow_cpu_fallback = _parameter(client, node, "allow_cpu_fallback")
    assert allow_cpu_fallback.type == ParameterType.PARAMETER_BOOL
    assert allow_cpu_fallback.bool_value
    assert _ctrl_c(launched) == 0


@needs_launch
def test_configure_that_fails_leaves_the_node_waiting_with_a_sentence(
    client: Client, launch: Launch, fake: tuple[str, ...]
) -> None:
    launched = launch(*fake, "checkpoint:=/no/such/script.yaml")
    launched.wait_for_log("/inference_node could not be configured")
    assert "/no/such/script.yaml" in launched.log
    assert client.state() == "unconfigured"
    assert _ctrl_c(launched) == 0


@needs_launch
def test_configure_by_hand_is_not_followed_by_an_activate(
    client: Client, launch: Launch, fake: tuple[str, ...]
) -> None:
    launched = launch(*fake)
    launched.wait_for_log("is active.")
    for transition in ("deactivate", "cleanup", "configure"):
        assert client.change_state(transition)
    assert _ctrl_c(launched) == 0
    assert launched.log.count("is active.") == 1


@needs_launch
def test_node_that_was_killed_comes_back_to_active_with_respawn(launch: Launch, fake: tuple[str, ...]) -> None:
    launched = launch(*fake, "respawn:=true")
    (pid,) = re.findall(r"process started with pid \[(\d+)\]", launched.wait_for_log("is active."))
    os.kill(int(pid), signal.SIGKILL)
    wait_for(lambda: launched.log.count("is active.") == 2, "the second life of the node")
    assert _ctrl_c(launched) == 0


@needs_launch
@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("autostart:=yes", "autostart"),
        ("allow_cpu_fallback:=maybe", "allow_cpu_fallback"),
        ("runtime:=tensorflow", "pytorch_fp16"),
        ("image_topic:=down camera", "image_topic: 'down camera' is not the name of a topic"),
        ("params_file:=/no/such.yaml", "'/no/such.yaml' is not a file"),
    ],
)
def test_wrong_argument_ends_the_launch_with_a_sentence(launch: Launch, argument: str, sentence: str) -> None:
    launched = launch(argument)
    assert launched.process.wait(60) != 0
    assert sentence in launched.log
    assert "process started" not in launched.log


@needs_launch
def test_wrong_parameter_in_the_file_ends_the_launch_instead_of_hanging(launch: Launch, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("/**:\n  ros__parameters:\n    max_frame_age_ms: -1.0\n")
    launched = launch(f"params_file:={file}")
    launched.process.wait(60)
    assert "max_frame_age_ms" in launched.log
    assert "/inference_node ended (1) before it was active" in launched.log


def _parameter(client: Client, node: str, name: str) -> ParameterValue:
    request = GetParameters.Request(names=[name])
    return client.call(GetParameters, f"{node}/get_parameters", request).values[0]


def _ctrl_c(launched: NodeProcess) -> int:
    os.killpg(launched.pid, signal.SIGINT)
    return launched.process.wait(30)
