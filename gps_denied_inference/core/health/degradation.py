"""Diagnostic task `degradation`: which rung of the ladder, why, and when it ends."""

from __future__ import annotations

from gps_denied_inference.core.governor import LadderState
from gps_denied_inference.core.health.status import Level, TaskStatus

__all__ = ["degradation_status"]


def degradation_status(state: LadderState) -> TaskStatus:
    """Judge where a node stands on its degradation ladder.

    Returns:
        WARN below the normal rung, and when a step could not be taken; else OK.
    """
    if not state.rung_count:
        return TaskStatus("degradation", Level.OK, "no degradation ladder (parameter NAME.degradation_ladder)")
    values = {
        "rung": str(state.rung),
        "rungs": str(state.rung_count),
        "name": state.name,
        "changes": state.summary,
        "reason": state.reason,
        "steps": str(state.steps),
        "seconds_on_rung": f"{state.rung_s:.1f}",
        "seconds_to_step_up": f"{state.to_step_up_s:.1f}",
        "error": state.error,
    }
    if state.error:
        message = f"a step to another rung failed and is tried again: {state.error}"
        remedy = "cleanup and configure the node if it goes on"
        return TaskStatus("degradation", Level.WARN, f"{message}; {remedy}", values)
    if state.rung:
        message = (
            f"rung {state.rung} of {state.rung_count - 1}, '{state.name}' ({state.summary}), for {state.rung_s:.0f} s: "
            f"{state.reason}; cool the computer or shed load, '{state.top_name}' then returns by itself"
        )
        return TaskStatus("degradation", Level.WARN, message, values)
    return TaskStatus("degradation", Level.OK, f"normal work, '{state.name}'", values)
