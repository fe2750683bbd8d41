"""Asks another node for lifecycle transitions, with bounded waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from gps_denied_inference.core.errors import ReplayError

__all__ = ["LifecycleClient"]

_TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "cleanup": Transition.TRANSITION_CLEANUP,
}


_ASK_AGAIN_AFTER_S = 1.0


class LifecycleClient:
    """A client of one lifecycle node. A context manager.

    Args:
        node_name: fully qualified, e.g. `/inference_node`.
        check: called while waiting; raises when waiting has become pointless (the node's process has ended).
    """

    def __init__(self, node_name: str, check: Callable[[], None]) -> None:
        self._node_name = node_name
        self._check = check
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node("gdi_lifecycle_client", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._change_state: Any = self._node.create_client(ChangeState, f"{node_name}/change_state")
        self._get_state: Any = self._node.create_client(GetState, f"{node_name}/get_state")
        self._is_seen = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.remove_node(self._node)
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def change_state(self, transition: str, timeout_s: float) -> None:
        """Ask for a transition and wait for its end.

        Args:
            transition: `configure`, `activate`, `deactivate` or `cleanup`.
            timeout_s: for the service to appear and to answer, together.

        Raises:
            ReplayError: the node refused, or did not answer in time.
        """
        deadline = time.monotonic() + timeout_s
        self._await_service(deadline, f"node {self._node_name} offered no lifecycle service within {timeout_s:g} s")
        request = ChangeState.Request(transition=Transition(id=_TRANSITIONS[transition]))
        future = self._change_state.call_async(request)
        while not future.done():
            self._wait(deadline, f"node {self._node_name} did not answer '{transition}' within {timeout_s:g} s")
        if not future.result().success:
            raise ReplayError(f"node {self._node_name} refused to {transition}")

    def _await_service(self, deadline: float, complaint: str) -> None:
        """Wait until a request cannot be lost.

        DDS endpoints match one side after the other, and `service_is_ready` tells of this side alone. They are
        announced in order: a node that answers `get_state`, made after `change_state`, has matched both.
        """
        while not (self._change_state.service_is_ready() and self._get_state.service_is_ready()):
            self._wait(deadline, complaint)
        while not self._is_seen:
            future = self._get_state.call_async(GetState.Request())
            ask_again_at = time.monotonic() + _ASK_AGAIN_AFTER_S
            while not future.done() and time.monotonic() < ask_again_at:
                self._wait(deadline, complaint)
            self._is_seen = future.done()

    def _wait(self, deadline: float, complaint: str) -> None:
        self._check()
        if time.monotonic() > deadline:
            raise ReplayError(complaint)
        self._executor.spin_once(timeout_sec=0.05)
