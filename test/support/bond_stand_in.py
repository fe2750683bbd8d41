"""A package `bondpy` with the interface of ROS's (bond_core, branch ros2), for machines without it.

It speaks of its bond in a `std_msgs/String` on the bond's topic, because the message of bond_core may be missing too:
"ID alive" ten times a second or as it is told, "ID ended" at its end. "ID manager died" breaks it from outside.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["with_bondpy"]

_BOND = """
import threading
from rclpy.duration import Duration
from std_msgs.msg import String

class Bond:
    def __init__(self, node, topic, bond_id, on_broken=None, on_formed=None):
        self.node, self.topic, self.id = node, topic, bond_id
        self.on_broken, self.on_formed = on_broken, on_formed
        self.heartbeat_period, self.heartbeat_timeout = 1.0, 4.0
        self.is_shutdown = False
        self.pub = node.create_publisher(String, topic, 1)

    def set_broken_callback(self, on_broken):
        self.on_broken = on_broken

    def start(self):
        assert (self.heartbeat_period, self.heartbeat_timeout) == (0.1, 4.0)
        self.sub = self.node.create_subscription(String, self.topic, self._receive, 10)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def shutdown(self):
        # Destroys what it made as ROS's does: not through the node.
        if not self.is_shutdown:
            self.is_shutdown = True
            self.sub.destroy()
            self._ended.set()
            self._thread.join()
            self._say("ended")
            self.pub.wait_for_all_acked(Duration(seconds=5))  # an end on its way dies with its publisher
            self.on_broken()
            self.pub.destroy()

    def _receive(self, message):
        if message.data == f"{self.id} manager died":
            self.on_broken()

    def _beat(self):
        self.on_formed()
        while not self._ended.wait(self.heartbeat_period):
            self._say("alive")

    def _say(self, text):
        self.pub.publish(String(data=f"{self.id} {text}"))
"""


def with_bondpy(folder: Path, code: str = _BOND) -> dict[str, str]:
    """Return the environment of a process that finds a `bondpy` with this code for its module of the same name."""
    package = folder / "bondpy_stand_in" / "bondpy"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    (package / "bondpy.py").write_text(code)
    present = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([str(package.parent), *([present] if present else [])])}
