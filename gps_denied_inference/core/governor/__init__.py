"""Graceful degradation: under heat, overload or memory pressure a node steps down a ladder of lighter work."""

from gps_denied_inference.core.governor.conditions import Conditions, DeadlineWatch, GovernorLimits, used_memory_share
from gps_denied_inference.core.governor.governor import Decision, DegradationGovernor
from gps_denied_inference.core.governor.ladder import NORMAL, Ladder, Rung, read_ladder
from gps_denied_inference.core.governor.rungs import LadderState, LoadedLadder, RungProcessor

__all__ = [
    "NORMAL",
    "Conditions",
    "DeadlineWatch",
    "Decision",
    "DegradationGovernor",
    "GovernorLimits",
    "Ladder",
    "LadderState",
    "LoadedLadder",
    "Rung",
    "RungProcessor",
    "read_ladder",
    "used_memory_share",
]
