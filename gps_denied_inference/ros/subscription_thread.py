"""Serves one subscription on a thread of its own, beside the node's executor.

rclpy's executor puts a wait set of some twenty entities together in Python for every message and takes with the
interpreter lock held: about half a millisecond of each image's way, and as much processor time. Here two entities wait,
and nothing but images wakes the thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.subscription import Subscription

__all__ = ["SubscriptionThread", "ThreadsOwnGroup"]

_FOR_EVER_NS = -1


class ThreadsOwnGroup(CallbackGroup):
    """Keeps the executor from subscriptions, not from their events: incompatible QoS is still told there."""

    def can_execute(self, entity: Any) -> bool:
        return not isinstance(entity, Subscription)

    def beginning_execution(self, entity: Any) -> bool:
        return self.can_execute(entity)

    def ending_execution(self, entity: Any) -> None:
        pass


class SubscriptionThread:
    """Calls `on_ready` whenever the subscription has a message, until it is closed.

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
        self._is_closed = False
        context = node.context.handle
        with context:
            self._closing = rclpy_implementation.GuardCondition(context)
            self._wait_set = rclpy_implementation.WaitSet(1, 1, 0, 0, 0, 0, context)
        self._thread = threading.Thread(target=self._serve, name="reception", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, and wait for it. Idempotent; not to be called on the thread itself."""
        if self._is_closed:
            return
        self._is_closed = True
        with self._closing:
            self._closing.trigger_guard_condition()
        self._thread.join()
        self._wait_set.destroy_when_not_in_use()
        self._closing.destroy_when_not_in_use()

    def _serve(self) -> None:
        handle, wait_set = self._subscription.handle, self._wait_set
        with handle, self._closing, wait_set:
            while not self._is_closed:
                wait_set.clear_entities()
                wait_set.add_subscription(handle)
                wait_set.add_guard_condition(self._closing)
                wait_set.wait(_FOR_EVER_NS)
                if self._is_closed or handle.pointer not in wait_set.get_ready_entities("subscription"):
                    continue
                try:
                    self._on_ready(handle)
                except Exception as error:  # whatever a message does: without this thread the node would be deaf
                    self._node.get_logger().error(
                        f"an image could not be received: {error!r}", throttle_duration_sec=5.0
                    )
