"""`gdi eval`: how well networks recognise places and match images, on data of yours or on public ones."""

from __future__ import annotations

import argparse
from typing import Any

from gps_denied_inference.cli.eval import match, page, vpr

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add the subcommand with its actions."""
    parser = subparsers.add_parser(
        "eval",
        help="measure place recognition and matching",
        description="Figures go to a JSON file, row by row: a command that was interrupted goes on where it stopped.",
    )
    actions = parser.add_subparsers(dest="action", required=True)
    for module in (vpr, match, page):
        module.add_action(actions)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the chosen action."""
    return int(options.run_action(options))
