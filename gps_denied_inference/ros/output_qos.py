"""Subscribers that a publisher cannot serve, because their QoS asks for more than it offers."""

from __future__ import annotations

from typing import Any

from rclpy.event_handler import PublisherEventCallbacks
from rclpy.node import Node
from rclpy.qos import qos_policy_name_from_kind

__all__ = ["OutputQos"]


class OutputQos:
    """Notes the middleware's events; give `callbacks` to the publisher when it is made.

    Args:
        node: owns the publisher.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._last = ""
        self.callbacks = PublisherEventCallbacks(incompatible_qos=self._on_incompatible_qos)

    def complaint(self, publisher: Any) -> str:
        """Say which policy keeps a subscriber away that is there now; empty when all are served.

        Args:
            publisher: that has the callbacks.
        """
        if not self._last or self._node.count_subscribers(publisher.topic_name) <= publisher.get_subscription_count():
            return ""
        return self._last

    def _on_incompatible_qos(self, event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        self._last = f"policy {policy}, {event.total_count} times"
        self._node.get_logger().warning(
            f"a subscriber asks for a QoS that this node's features do not offer ({self._last}); set its QoS, or "
            "output_reliability, to match"
        )
