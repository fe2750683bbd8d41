"""Lines of ok, warn and fail, as `gdi doctor` and `gdi preflight` show them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from gps_denied_inference.cli.console import say

__all__ = ["Check", "Level", "show_checks"]


class Level(Enum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at and what was found.

    Attributes:
        name: a few words.
        level: how bad it is.
        text: a sentence with the value that was found, and what to do where something is wrong.
    """

    name: str
    level: Level
    text: str


def show_checks(checks: Sequence[Check], *, as_json: bool, facts: Mapping[str, Any] | None = None) -> None:
    """Write the lines, or one JSON object with `checks` and the given facts."""
    if as_json:
        lines = [{"name": check.name, "level": check.level.value, "text": check.text} for check in checks]
        say(json.dumps({**(facts or {}), "checks": lines}, indent=2))
        return
    width = max((len(check.name) for check in checks), default=0)
    for check in checks:
        say(f"{check.level.value:<4}  {check.name:<{width}}  {' '.join(check.text.split())}")
