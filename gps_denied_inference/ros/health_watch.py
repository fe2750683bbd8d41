"""Follows the reports of every inference node and thermal monitor that is seen on DDS."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

import gps_denied_inference.msg as messages
from gps_denied_inference.core.errors import ReplayError
from gps_denied_inference.ros.qos import LATCHED

__all__ = ["HealthWatch", "NodeSighting"]

_HEALTH = "gps_denied_inference/msg/EngineHealth"
_THERMAL = "gps_denied_inference/msg/ThermalState"


@dataclass(slots=True)
class NodeSighting:
    """What one namespace last said.

    Attributes:
        namespace: of the topics, `/` for the root.
        health: last EngineHealth message; None while none came.
        thermal: last ThermalState message; None while none came.
        health_heard_s, thermal_heard_s: steady clock of the last message of each kind, seconds. One must not speak for
            the other: a thermal monitor may live beside an inference node that died.
    """

    namespace: str
    health: Any = None
    thermal: Any = None
    health_heard_s: float = field(default_factory=time.monotonic)
    thermal_heard_s: float = field(default_factory=time.monotonic)


class HealthWatch:
    """Subscribes to every `engine_health` and `thermal_state` that appears. A context manager.

    Args:
        namespace: only this one; all, when empty.

    Raises:
        ReplayError: ROS cannot be initialised.
    """

    def __init__(self, namespace: str = "") -> None:
        self._only = "/" + namespace.strip("/") if namespace.strip("/") else namespace
        self._sightings: dict[str, NodeSighting] = {}
        self._topics: set[str] = set()
        self._context = Context()
        try:
            rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
            self._node = rclpy.create_node(f"gdi_top_{time.time_ns() % 10**9}", context=self._context)
        except Exception as error:  # rcl's own, of a private module
            raise ReplayError(f"cannot take part in ROS: {error}; check ROS_DOMAIN_ID and the environment") from error
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)

    def spin(self, seconds: float) -> list[NodeSighting]:
        """Listen for a while; returns what is known then, by namespace."""
        self._find_topics()
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=min(left_s, 0.2))
        return [self._sightings[name] for name in sorted(self._sightings)]

    def close(self) -> None:
        """Leave."""
        self._executor.remove_node(self._node)
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def _find_topics(self) -> None:
        for topic, kinds in self._node.get_topic_names_and_types():
            namespace, _, _ = topic.rpartition("/")
            namespace = namespace or "/"
            if topic in self._topics or (self._only and namespace != self._only):
                continue
            if _HEALTH in kinds:
                self._follow(messages.EngineHealth, topic, namespace, "health", 10)
            elif _THERMAL in kinds:
                self._follow(messages.ThermalState, topic, namespace, "thermal", LATCHED)

    def _follow(self, kind: Any, topic: str, namespace: str, name: str, qos: Any) -> None:
        sighting = self._sightings.setdefault(namespace, NodeSighting(namespace))

        def take(message: Any) -> None:
            setattr(sighting, name, message)
            setattr(sighting, f"{name}_heard_s", time.monotonic())

        self._topics.add(topic)
        self._node.create_subscription(kind, topic, take, qos)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
