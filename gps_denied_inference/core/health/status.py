"""What a diagnostic task says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

__all__ = ["Level", "TaskStatus", "worst_of"]


class Level(IntEnum):
    """As `diagnostic_msgs/DiagnosticStatus`. STALE is left out: a single one turns an aggregator's root to ERROR."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """Result of one task.

    Attributes:
        name: of the task, e.g. `engine`.
        level: how bad it is.
        message: what is the matter and, unless OK, what to do.
        values: details, in the order to be shown.
    """

    name: str
    level: Level
    message: str
    values: Mapping[str, str] = field(default_factory=dict)


def worst_of(statuses: Iterable[TaskStatus]) -> tuple[Level, str]:
    """Return the worst level and the messages of the tasks that are not OK; empty when all are."""
    bad = sorted((status for status in statuses if status.level is not Level.OK), key=lambda item: -item.level)
    if not bad:
        return Level.OK, ""
    return bad[0].level, "; ".join(f"{status.name}: {status.message}" for status in bad)
