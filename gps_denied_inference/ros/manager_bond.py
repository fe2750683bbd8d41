"""The bond to nav2's lifecycle manager: its heartbeat tells each side when the other one dies.

Topic, identifier and timeout are those of nav2's own nodes (`nav2_util::LifecycleNode`, `bond::Bond("bond", name)`), so
that the manager finds this node as it finds them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from rclpy.node import Node

from gps_denied_inference.core.errors import RuntimeNotAvailableError
from gps_denied_inference.core.optional import require

__all__ = ["ManagerBond"]

_TOPIC = "bond"
_HEARTBEAT_PERIOD_S = 0.1
_HEARTBEAT_TIMEOUT_S = 4.0
_INSTALL = "sudo apt install ros-jazzy-bondpy (or set bond_enabled to false, and bond_timeout of the manager to 0.0)"


class ManagerBond:
    """Formed while the node is active, broken when it stops being so.

    A manager that dies is told in the log and changes nothing else: the aircraft still needs its features.

    Args:
        node: speaks on the relative topic `bond`, under its own name.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._bond: Any = None

    def check(self) -> None:
        """Find out whether a bond can be formed.

        Raises:
            RuntimeNotAvailableError: bondpy is absent, or what is installed by this name is not ROS's.
        """
        self._bond_type()

    def form(self) -> None:
        """Begin to send and to expect heartbeats. Waits for nobody.

        Raises:
            RuntimeNotAvailableError: as `check`.
        """
        bond_type = self._bond_type()
        self.end()
        bond = bond_type(self._node, _TOPIC, self._node.get_name(), on_formed=self._on_formed)
        bond.set_broken_callback(partial(self._on_broken, bond))
        bond.heartbeat_period = _HEARTBEAT_PERIOD_S
        bond.heartbeat_timeout = _HEARTBEAT_TIMEOUT_S
        self._bond = bond
        bond.start()

    def end(self) -> None:
        """Tell the manager that the node stops on purpose. Idempotent. On the executor's thread, or without one."""
        bond, self._bond = self._bond, None
        if bond is None:
            return
        bond.shutdown()
        # bondpy destroys its two ends behind the node's back: left in the node's lists, their events end the executor.
        self._node.destroy_subscription(bond.sub)
        self._node.destroy_publisher(bond.pub)

    def _bond_type(self) -> Any:
        module = require("bondpy.bondpy", install=_INSTALL, purpose="bond_enabled")
        try:
            return module.Bond
        except AttributeError as error:
            raise RuntimeNotAvailableError(
                f"bond_enabled needs ROS's package bondpy; another package of that name is installed at "
                f"{module.__file__}; remove it and install ROS's with: {_INSTALL}"
            ) from error

    # On bondpy's threads.

    def _on_formed(self) -> None:
        self._node.get_logger().info("bond to the lifecycle manager formed")

    def _on_broken(self, bond: Any) -> None:
        if bond is self._bond:
            self._node.get_logger().warning(
                "bond to the lifecycle manager broken: it ended, or was never there; this node works on"
            )
