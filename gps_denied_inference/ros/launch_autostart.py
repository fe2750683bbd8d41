"""Bringing a lifecycle node to active under `ros2 launch`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import launch.logging
from launch.actions import EmitEvent, OpaqueFunction, RegisterEventHandler
from launch.event_handlers import OnProcessExit, OnProcessStart
from launch.events import matches_action
from launch_ros.actions import LifecycleNode
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.ros_adapters import get_ros_node
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import GetState

from launch import LaunchContext

__all__ = ["Autostart"]

_ANSWER_TIMEOUT_S = 1.0
_LOGGER = launch.logging.get_logger("autostart")


class Autostart:
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
