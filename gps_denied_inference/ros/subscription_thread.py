"""Serves one subscription on a thread of its own, beside the node's executor.

rclpy's executor puts a wait set of some twenty entities together in Python for every message and takes with the
interpreter lock held: about half a millisecond of each image's way, and as much processor time. Here few entities wait,
and nothing but images wakes the thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node

__all__ = ["SubscriptionThread", "ThreadsOwnGroup"]

_FOR_EVER_NS = -1
_PAUSE_AFTER_ERROR_S = 0.01
"""Where even waiting fails, this thread must not take the processor."""


class ThreadsOwnGroup(CallbackGroup):
    """Keeps the executor from a subscription and its events.

    From the events, too: in Fast DDS they share a condition with the data, and each image would wake the executor for
    nothing (measured: 2 ms of processor for each).
    """

    def can_execute(self, _entity: Any) -> bool:
        return False

    def beginning_execution(self, _entity: Any) -> bool:
        return False

    def ending_execution(self, _entity: Any) -> None:
        pass


class SubscriptionThread:
    """Calls `on_ready` whenever the subscription has a message, and its event callbacks, until it is closed.

    Args:
        node: of the subscription.
        subscription: in a `ThreadsOwnGroup`.
        on_ready: takes the message; called on the thread, with the subscription's handle in use. What it raises is
            logged.
    """

    def __init__(self, node: Node, subscription: Any, on_ready: Callable[[Any], None]) -> None:
        self._node = node
        self._subscription = subscription
        self._on_ready = on_ready
        self._is_over = threading.Event()
        self._events: Sequence[Any] = subscription.event_handlers
        context = node.context.handle
        with context:
            self._closing = rclpy_implementation.GuardCondition(context)
            self._wait_set = rclpy_implementation.WaitSet(1, 1, 0, 0, 0, len(self._events), context)
        self._thread = threading.Thread(target=self._serve, name="reception", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, and wait for it. Idempotent; not to be called on the thread itself."""
        if self._is_over.is_set():
            return
        self._is_over.set()
        with self._closing:
            self._closing.trigger_guard_condition()
        self._thread.join()
        self._wait_set.destroy_when_not_in_use()
        self._closing.destroy_when_not_in_use()

    def _serve(self) -> None:
        handle, wait_set = self._subscription.handle, self._wait_set
        with ExitStack() as in_use:
            for entity in (handle, self._closing, wait_set, *self._events):
                in_use.enter_context(entity)
            while not self._is_over.is_set():
                try:
                    wait_set.clear_entities()
                    wait_set.add_subscription(handle)
                    wait_set.add_guard_condition(self._closing)
                    for event in self._events:
                        event.add_to_wait_set(wait_set)
                    wait_set.wait(_FOR_EVER_NS)
                    if self._is_over.is_set():
                        return
                    if handle.pointer in wait_set.get_ready_entities("subscription"):
                        self._on_ready(handle)
                    for event in self._events:
                        if event.is_ready(wait_set):
                            event.callback(event.take_data())
                except Exception as error:  # whatever a message does: without this thread the node would be deaf
                    self._node.get_logger().error(
                        f"an image could not be received: {error!r}", throttle_duration_sec=5.0
                    )
                    self._is_over.wait(_PAUSE_AFTER_ERROR_S)
