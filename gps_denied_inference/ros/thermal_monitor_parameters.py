"""Parameters of the thermal monitor: those of the inference node that concern heat, validated alike."""

from __future__ import annotations

from pathlib import Path

from rclpy.node import Node

from gps_denied_inference.core.settings import GENERAL_FIELDS, SettingField
from gps_denied_inference.ros.parameters import NODE_FIELDS, NodeParameters

__all__ = ["THERMAL_MONITOR_FIELDS", "ThermalMonitorParameters"]

_NAMES = (
    "thermal_sources",
    "thermal_timeline",
    "thermal_poll_hz",
    "diagnostics_rate_hz",
    "thermal_unknown_level",
    "thermal_stuck_after_s",
    "bond_enabled",
)

THERMAL_MONITOR_FIELDS: tuple[SettingField, ...] = tuple(
    item for name in _NAMES for item in (*GENERAL_FIELDS, *NODE_FIELDS) if item.name == name
)
"""Taken from the tables of the inference node, so that a name means the same in both."""


class ThermalMonitorParameters(NodeParameters):
    """Declares the parameters of the thermal monitor and hands them out validated.

    Args:
        node: the node; its parameter overrides are read here.

    Raises:
        SettingsError: a parameter override is wrong.
    """

    def __init__(self, node: Node) -> None:
        super().__init__(node, fields=THERMAL_MONITOR_FIELDS)

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the thermal sources in order of preference."""
        return tuple(str(name) for name in self._value("thermal_sources"))

    @property
    def timeline(self) -> Path | None:
        """File of the source `scripted`."""
        text = self.text("thermal_timeline")
        return Path(text).expanduser() if text else None
