"""What a step that raises does to its node: state, log and what is given back."""

import gc
from collections.abc import Iterator

import pytest
import rclpy
from node_harness import Client, wait_for
from rclpy.lifecycle import TransitionCallbackReturn

from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.ros.guarded_lifecycle_node import GuardedLifecycleNode


class _NoteKeeper(GuardedLifecycleNode):
    """Notes its steps; the one that is named raises an error with a cause, as often as it is told."""

    def __init__(self, name: str, context: rclpy.Context) -> None:
        super().__init__(name, context=context)
        self.steps: list[str] = []
        self.failing_step = ""
        self.failures_left = 1
        self.error: Exception = ZeroDivisionError("nothing to divide by")

    def configure(self) -> None:
        self._note("configure")

    def activate(self) -> None:
        self._note("activate")

    def deactivate(self) -> None:
        self._note("deactivate")

    def release(self) -> None:
        self._note("release")

    def _note(self, step: str) -> None:
        self.steps.append(step)
        if step == self.failing_step and self.failures_left:
            self.failures_left -= 1
            raise self.error from ValueError("an empty list\nof parts")


@pytest.fixture
def node(domain_id: int) -> Iterator[_NoteKeeper]:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain_id)
    node = _NoteKeeper("note_keeper", context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


def _trigger_until_failure(node: _NoteKeeper, step: str) -> TransitionCallbackReturn:
    """Take the node through its life; returns what the failing transition answered."""
    node.failing_step = step
    for trigger in (node.trigger_configure, node.trigger_activate, node.trigger_deactivate):
        answer = trigger()
        if answer is not TransitionCallbackReturn.SUCCESS:
            return answer
    raise AssertionError(f"no step failed; the steps were {node.steps}")


@pytest.mark.parametrize("step", ["configure", "activate", "deactivate"])
def test_unexpected_error_is_logged_with_its_cause_and_everything_is_given_back(
    node: _NoteKeeper, step: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _trigger_until_failure(node, step) is TransitionCallbackReturn.ERROR
    log = capfd.readouterr().err
    assert f"{step} failed unexpectedly: nothing to divide by <- ValueError: an empty list\n" in log
    assert "ZeroDivisionError: nothing to divide by" in log  # the traceback's last line
    assert node.lifecycle_state == "unconfigured"
    assert node.steps[-2:] == ["deactivate", "release"]  # by error processing, in this order
    assert node.trigger_configure() is TransitionCallbackReturn.SUCCESS
    assert node.lifecycle_state == "inactive"


@pytest.mark.parametrize(
    ("step", "state", "last_step"), [("configure", "unconfigured", "release"), ("activate", "inactive", "deactivate")]
)
def test_error_of_our_family_is_a_refusal_that_leaves_the_node_where_it_was(
    node: _NoteKeeper, step: str, state: str, last_step: str, capfd: pytest.CaptureFixture[str]
) -> None:
    node.error = InferenceError("the engine is cold")
    assert _trigger_until_failure(node, step) is TransitionCallbackReturn.FAILURE
    log = capfd.readouterr().err
    assert f"{step} failed: the engine is cold <- ValueError: an empty list\n" in log
    assert "Traceback" not in log
    assert node.lifecycle_state == state
    assert node.steps[-1] == last_step


def test_node_whose_error_processing_fails_too_is_finalized_and_gives_back_what_it_can(
    node: _NoteKeeper, capfd: pytest.CaptureFixture[str]
) -> None:
    node.failures_left = 2
    assert _trigger_until_failure(node, "deactivate") is TransitionCallbackReturn.ERROR
    assert "error processing failed unexpectedly: nothing to divide by" in capfd.readouterr().err
    assert node.lifecycle_state == "finalized"
    assert node.steps[-1] == "release"


def test_no_service_of_a_destroyed_node_stays_found(client: Client, domain_id: int) -> None:
    """Who asks a node of the same name would wait for an answer that never comes."""

    def services() -> list[str]:
        return [name for name, _ in client.node.get_service_names_and_types() if name.startswith("/gone/")]

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain_id)
    node = _NoteKeeper("gone", context)
    wait_for(lambda: "/gone/change_state" in services(), "the node's services")
    gc.disable()  # the collector would end them some time later
    try:
        node.destroy_node()
        wait_for(lambda: not services(), "the end of the node's services", timeout_s=5.0)
    finally:
        gc.enable()
        rclpy.shutdown(context=context)
