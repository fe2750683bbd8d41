"""Diagnostic tasks: pure functions from what is known to a status with a level, a sentence and values."""

from gps_denied_inference.core.health.camera_input import InputLimits, InputReading, input_status
from gps_denied_inference.core.health.degradation import degradation_status
from gps_denied_inference.core.health.engine import engine_status, fidelity_summary
from gps_denied_inference.core.health.inference import InferenceLimits, InferenceReading, inference_status
from gps_denied_inference.core.health.input_monitor import InputAnomaly, InputMonitor, InputPace
from gps_denied_inference.core.health.memory import MemoryLimits, MemoryReading, memory_status
from gps_denied_inference.core.health.memory_monitor import MemoryMonitor, resident_bytes
from gps_denied_inference.core.health.messages import MessageReading, message_status
from gps_denied_inference.core.health.node import node_status
from gps_denied_inference.core.health.recent_counts import RecentCounts
from gps_denied_inference.core.health.status import Level, TaskStatus, worst_of
from gps_denied_inference.core.health.thermal import ThermalLimits, ThermalReading, thermal_status

__all__ = [
    "InferenceLimits",
    "InferenceReading",
    "InputAnomaly",
    "InputLimits",
    "InputMonitor",
    "InputPace",
    "InputReading",
    "Level",
    "MemoryLimits",
    "MemoryMonitor",
    "MemoryReading",
    "MessageReading",
    "RecentCounts",
    "TaskStatus",
    "ThermalLimits",
    "ThermalReading",
    "degradation_status",
    "engine_status",
    "fidelity_summary",
    "inference_status",
    "input_status",
    "memory_status",
    "message_status",
    "node_status",
    "resident_bytes",
    "thermal_status",
    "worst_of",
]
