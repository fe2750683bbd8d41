"""Under nav2's lifecycle manager: its order of transitions (nav2_lifecycle_manager, Jazzy) and the bond to it."""

from pathlib import Path

import numpy as np
import pytest
from bond_stand_in import with_bondpy
from lifecycle_msgs.msg import Transition
from node_harness import Client, NodeLauncher, image_message, wait_for
from node_parameters import fake_parameters
from std_msgs.msg import String

_STARTUP = [(Transition.TRANSITION_CONFIGURE, "inactive"), (Transition.TRANSITION_ACTIVATE, "active")]
_PAUSE = [(Transition.TRANSITION_DEACTIVATE, "inactive")]
_RESUME = [(Transition.TRANSITION_ACTIVATE, "active")]
_RESET = [(Transition.TRANSITION_DEACTIVATE, "inactive"), (Transition.TRANSITION_CLEANUP, "unconfigured")]
_SHUTDOWN = [*_RESET, (Transition.TRANSITION_UNCONFIGURED_SHUTDOWN, "finalized")]


@pytest.mark.parametrize("executable", ["inference_node", "thermal_monitor_node"])
def test_node_comes_up_and_down_with_the_manager(
    client: Client, launcher: NodeLauncher, tmp_path: Path, executable: str
) -> None:
    said = client.collect(String, "/left/bond")
    parameters = fake_parameters(tmp_path, "latency_ms: 1.0") if executable == "inference_node" else ()
    launcher.start(
        *parameters,
        "bond_enabled:=true",
        executable=executable,
        namespace="/left",
        environment=with_bondpy(tmp_path),
    )
    name = executable.removesuffix("_node") if executable == "thermal_monitor_node" else executable
    node = f"/left/{name}"

    for transition, state in [*_STARTUP, *_PAUSE, *_RESUME, *_RESET, *_STARTUP, *_SHUTDOWN]:
        assert client.change_state_by_id(transition, node)
        # As the manager: what the service said must be so at once.
        assert client.state(node) == state
        if state == "active":
            heard = len(said)
            wait_for(lambda: any(text.data == f"{name} alive" for text in said[heard:]), "heartbeats")  # noqa: B023
        elif transition == Transition.TRANSITION_DEACTIVATE:
            wait_for(lambda: said[-1].data == f"{name} ended", "the end of the bond")
    assert [text.data for text in said].count(f"{name} ended") == 3


def test_node_works_on_when_the_manager_dies(client: Client, launcher: NodeLauncher, tmp_path: Path) -> None:
    said = client.collect(String, "/bond")
    manager = client.node.create_publisher(String, "/bond", 10)
    node = launcher.start(
        *fake_parameters(tmp_path, "latency_ms: 1.0"), "bond_enabled:=true", environment=with_bondpy(tmp_path)
    )
    features = client.features()
    client.bring_up()
    wait_for(lambda: any(text.data == "inference_node alive" for text in said), "heartbeats")
    assert "bond to the lifecycle manager formed" in node.wait_for_log("bond")

    wait_for(lambda: manager.get_subscription_count() > 1, "the node's side of the bond")
    wait_for(lambda: manager.publish(String(data="inference_node manager died")) or "broken" in node.log, "the warning")

    client.image_publisher().publish(image_message(np.zeros((48, 64), np.uint8), "mono8", 1))
    wait_for(lambda: features, "a descriptor")
    assert client.state() == "active"
    # An end of its own is none of the manager's.
    warnings = node.log.count("broken")
    assert client.change_state("deactivate")
    assert node.end() == 0
    assert node.log.count("broken") == warnings


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("raise ImportError('no such thing')", "cannot be imported here"),
        ("class SomethingElse: ...", "another package of that name is installed"),
    ],
)
def test_bond_without_its_package_is_refused_with_what_to_do(
    client: Client, launcher: NodeLauncher, tmp_path: Path, code: str, sentence: str
) -> None:
    node = launcher.start(
        *fake_parameters(tmp_path, "latency_ms: 1.0"), "bond_enabled:=true", environment=with_bondpy(tmp_path, code)
    )
    health = client.health()
    assert not client.change_state("configure")
    assert client.state() == "unconfigured"
    log = node.wait_for_log(sentence)
    assert "apt install ros-jazzy-bondpy" in log and "bond_enabled to false" in log
    wait_for(lambda: sentence in health[-1].message, "the reason in engine_health")
