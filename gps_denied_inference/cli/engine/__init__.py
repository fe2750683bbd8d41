"""`gdi engine`: engines are built, checked, signed and cleared away here, never in flight."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gps_denied_inference.cli.engine import build, contents, sign, verify

__all__ = ["add_parser", "run"]

_ACTIONS = (build, verify, contents, sign)


def add_parser(subparsers: Any) -> None:
    """Add the subcommand with its actions."""
    parser = subparsers.add_parser(
        "engine",
        help="build, verify, inspect, sign, list and prune engines",
        description="Engines lie in a store: a folder with a manifest, which the node's parameter engine_store names.",
    )
    actions = parser.add_subparsers(dest="action", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--store", type=Path, required=True, help="folder of the engine store")
    common.add_argument("--json", action="store_true", help="one JSON object")
    for module in _ACTIONS:
        module.add_actions(actions, common)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the chosen action."""
    return int(options.run_action(options))
