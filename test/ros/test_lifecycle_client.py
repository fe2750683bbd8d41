"""Asking another node for transitions: over DDS, of a stand-in that notes what it is asked."""

import threading
import time
from collections.abc import Iterator

import pytest
import rclpy
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.executors import SingleThreadedExecutor

from gps_denied_inference.core.errors import ReplayError
from gps_denied_inference.ros.lifecycle_client import LifecycleClient


class _StandIn:
    """Offers the two services."""

    def __init__(self, context: rclpy.Context) -> None:
        self.asked: list[str] = []
        self.first_answer_after_s = 0.0
        self.is_willing = True
        self.node = rclpy.create_node("stand_in", context=context)
        self.node.create_service(ChangeState, "~/change_state", self._change_state)

    def offer_state(self) -> None:
        self.node.create_service(GetState, "~/get_state", self._get_state)

    def _change_state(self, _request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
        self.asked.append("change_state")
        response.success = self.is_willing
        return response

    def _get_state(self, _request: GetState.Request, response: GetState.Response) -> GetState.Response:
        self.asked.append("get_state")
        time.sleep(self.first_answer_after_s)
        self.first_answer_after_s = 0.0
        return response


@pytest.fixture
def stand_in(domain_id: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[_StandIn]:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    context = rclpy.Context()
    rclpy.init(context=context)
    stand_in = _StandIn(context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(stand_in.node)
    is_over = threading.Event()

    def spin() -> None:
        while not is_over.is_set():
            executor.spin_once(timeout_sec=0.05)

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    yield stand_in
    is_over.set()
    thread.join()
    executor.remove_node(stand_in.node)
    stand_in.node.destroy_node()
    rclpy.shutdown(context=context)


def test_no_transition_is_asked_for_before_the_node_has_answered(stand_in: _StandIn) -> None:
    """What is sent before the node's side has found the client is lost, and a transition cannot be asked for twice."""
    stand_in.offer_state()
    stand_in.first_answer_after_s = 1.5
    with LifecycleClient("/stand_in", check=lambda: None) as client:
        client.change_state("configure", timeout_s=30.0)
        assert stand_in.asked == ["get_state", "get_state", "change_state"]
        client.change_state("activate", timeout_s=30.0)
    assert stand_in.asked == ["get_state", "get_state", "change_state", "change_state"]


def test_refusal_names_the_node_and_the_transition(stand_in: _StandIn) -> None:
    stand_in.offer_state()
    stand_in.is_willing = False
    with (
        LifecycleClient("/stand_in", check=lambda: None) as client,
        pytest.raises(ReplayError, match="node /stand_in refused to configure"),
    ):
        client.change_state("configure", timeout_s=30.0)


def test_half_a_lifecycle_node_is_not_waited_for_for_ever(stand_in: _StandIn) -> None:
    with (
        LifecycleClient("/stand_in", check=lambda: None) as client,
        pytest.raises(ReplayError, match=r"/stand_in offered no lifecycle service within 0\.5 s"),
    ):
        client.change_state("configure", timeout_s=0.5)
    assert not stand_in.asked


def test_pointless_waiting_ends(stand_in: _StandIn) -> None:
    def check() -> None:
        raise ReplayError("its process has ended")

    with LifecycleClient("/stand_in", check) as client, pytest.raises(ReplayError, match="its process has ended"):
        client.change_state("configure", timeout_s=30.0)
    assert not stand_in.asked
