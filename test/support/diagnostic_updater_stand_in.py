"""A package `diagnostic_updater` with the interface of that of ROS (ros/diagnostics, ros2-jazzy), where it is missing.

Modelled, because it matters to a node: the publisher of depth 1, two parameters of its own, a timer on the node's clock
from the start, a status "Node starting up" at each added task, and names with the node's bare name in front. Until 3.2
(March 2024, before Jazzy) there was neither the parameter `use_fqn` nor the attribute `node_name`.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["write_diagnostic_updater"]

_UPDATER = """
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

class DiagnosticStatusWrapper(DiagnosticStatus):
    def summary(self, level, message):
        self.level, self.message = level, str(message)

    def add(self, key, value):
        self.values.append(KeyValue(key=key, value=value))

class Updater:
    def __init__(self, node, period=1.0):
        self.node, self.tasks, self.hwid = node, [], ""
        self.publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 1)
        period = node.declare_parameter("diagnostic_updater.period", period).value
        self.timer = node.create_timer(period, self.update)
        if HAS_NODE_NAME:
            is_qualified = node.declare_parameter("diagnostic_updater.use_fqn", False).value
            self.node_name = "/".join([node.get_namespace(), node.get_name()]) if is_qualified else node.get_name()

    def setHardwareID(self, hwid):
        self.hwid = hwid

    def add(self, name, function):
        self.tasks.append((name, function))
        status = DiagnosticStatusWrapper(name=name)
        status.summary(DiagnosticStatus.OK, "Node starting up")
        self.publish([status])

    def force_update(self):
        self.update()

    def update(self):
        statuses = []
        for name, function in self.tasks:
            status = DiagnosticStatusWrapper(name=name, message="No message was set", hardware_id=self.hwid)
            statuses.append(function(status))
        self.publish(statuses)

    def publish(self, statuses):
        array = DiagnosticArray()
        array.header.stamp = self.node.get_clock().now().to_msg()
        prefix = self.node_name if HAS_NODE_NAME else self.node.get_name()
        for status in statuses:
            fields = ("level", "message", "hardware_id", "values")
            plain = DiagnosticStatus(**{field: getattr(status, field) for field in fields})
            plain.name = f"{prefix}: {status.name}"
            array.status.append(plain)
        self.publisher.publish(array)
"""


def write_diagnostic_updater(folder: Path, *, has_node_name: bool = True) -> Path:
    """Write the package; returns the folder for the module search path."""
    package = folder / "diagnostic_updater_stand_in" / "diagnostic_updater"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"HAS_NODE_NAME = {has_node_name}\n{_UPDATER}")
    return package.parent
