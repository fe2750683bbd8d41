"""`gdi index`: the map's tiles are embedded and asked for here."""

from __future__ import annotations

import argparse
from typing import Any

from gps_denied_inference.cli.index import build, query

__all__ = ["add_parser", "run"]

_ACTIONS = (build, query)


def add_parser(subparsers: Any) -> None:
    """Add the subcommand with its actions."""
    parser = subparsers.add_parser(
        "index",
        help="embed the tiles of a map, and look images up in them",
        description="An index holds the descriptors of a map's tiles with their positions: one file, mapped into "
        "memory, which the parameter index of place_recognition_node names.",
    )
    actions = parser.add_subparsers(dest="action", required=True)
    for module in _ACTIONS:
        module.add_actions(actions)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the chosen action."""
    return int(options.run_action(options))
