"""`gdi models`: the registered networks."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gps_denied_inference.cli.console import say, table
from gps_denied_inference.core.architectures import default_registry, locate_weights
from gps_denied_inference.core.contracts import ArchitectureSpec, OutputKind
from gps_denied_inference.core.errors import EngineBuildError

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("models", help="list the registered networks and where their weights are")
    parser.add_argument("--weights-dir", type=Path, help="folder searched first for checkpoints")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """List them."""
    registry = default_registry()
    for name in registry:
        spec = registry.lookup(name).spec
        say(name)
        say(table(_rows(name, spec, options.weights_dir)))
    return 0


def _rows(name: str, spec: ArchitectureSpec, weights_dir: Path | None) -> list[tuple[str, str]]:
    inputs = ", ".join(f"{item.name} {list(item.shape)} {item.dtype}" for item in spec.inputs)
    output = f"{spec.output_kind.value}, {spec.descriptor_dimension}-D"
    if spec.output_kind is OutputKind.LOCAL_FEATURES:
        output += f", at most {spec.max_keypoints} keypoints"
    try:
        weights = str(locate_weights(spec, name, weights_dir))
    except EngineBuildError as error:
        weights = f"missing: {error}"
    return [
        ("input", inputs),
        ("output", output),
        ("weights", weights),
        ("license", spec.license),
        ("paper", spec.paper),
    ]
