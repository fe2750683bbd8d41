"""Diagnostic task `node`: is this node the only one of its name?"""

from __future__ import annotations

from gps_denied_inference.core.health.status import Level, TaskStatus

__all__ = ["node_status"]


def node_status(name: str, namesakes: int) -> TaskStatus:
    """Judge the node's place in the graph.

    Args:
        name: fully qualified.
        namesakes: nodes of this name that are seen, this one included; 0 before discovery found any.

    Returns:
        ERROR when another node has the same name: services and parameters then reach either of them. Else OK.
    """
    values = {"name": name, "nodes_of_this_name": str(namesakes)}
    if namesakes > 1:
        message = f"{namesakes} nodes are named {name}, and services reach any of them"
        return TaskStatus("node", Level.ERROR, f"{message}; give each a name (__node) or namespace (__ns)", values)
    return TaskStatus("node", Level.OK, "the only one of its name", values)
