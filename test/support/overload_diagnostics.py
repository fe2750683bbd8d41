"""What the diagnostics must say of an overload: WARN within 2 s, OK within 5 s after it. They come once a second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from node_harness import wait_for

__all__ = ["assert_overload_is_over", "assert_overload_was_told"]


def assert_overload_was_told(diagnostics: list[Any], first: int) -> None:
    """Check the reports since the overload began, which they already show.

    Args:
        diagnostics: fills with the arrays of one node.
        first: how many had come when it began.
    """
    told = wait_for(
        lambda: next((s for s in _inference(diagnostics, first) if s.message.startswith("overload")), None), "WARN"
    )
    assert told.level == DiagnosticStatus.WARN and "lower the camera's rate" in told.message
    assert any(s.level == DiagnosticStatus.WARN for s in _inference(diagnostics, first)[:2]), "within two reports, 2 s"


def assert_overload_is_over(diagnostics: list[Any], send_some: Callable[[], None]) -> None:
    """Check the next five reports, which are 5 s.

    Args:
        diagnostics: fills with the arrays of one node.
        send_some: sends frames for less than a second, at a rate that the network can take.
    """
    calm = len(diagnostics)

    def is_calm() -> bool:
        send_some()
        return any(s.level == DiagnosticStatus.OK for s in _inference(diagnostics, calm)[:5])

    wait_for(is_calm, "OK within five reports")


def _inference(diagnostics: list[Any], first: int) -> list[Any]:
    """Return the statuses of the task since a moment."""
    return [s for array in diagnostics[first:] for s in array.status if s.name == "/inference_node: inference"]
