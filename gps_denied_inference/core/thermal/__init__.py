"""What heat and power do to this computer: sources to read, and the publisher of the latest reading."""

from gps_denied_inference.core.thermal.publisher import ThermalStatePublisher
from gps_denied_inference.core.thermal.scripted import ScriptedSource
from gps_denied_inference.core.thermal.selection import AUTOMATIC_ORDER, SourceChoice, create_source
from gps_denied_inference.core.thermal.source import ThermalSource

__all__ = [
    "AUTOMATIC_ORDER",
    "ScriptedSource",
    "SourceChoice",
    "ThermalSource",
    "ThermalStatePublisher",
    "create_source",
]
