"""The program `gdi`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from gps_denied_inference import __version__
from gps_denied_inference.cli import bench, demo, doctor, engine, index, models, preflight, replay, top, weights
from gps_denied_inference.cli import eval as evaluation
from gps_denied_inference.cli.console import say_json
from gps_denied_inference.core.errors import GpsDeniedInferenceError

__all__ = ["main"]

_SUBCOMMANDS = (replay, demo, models, weights, evaluation, engine, index, preflight, top, bench, doctor)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand. With `--json` stdout is one JSON document, `{"error": {"type", "message"}}` when it failed.

    Returns:
        0 when it succeeded, 1 when it failed (one sentence on stderr says why), 2 for wrong usage, 130 after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except GpsDeniedInferenceError as error:
        sentence = " ".join(str(error).split())
        if options.json:
            say_json({"error": {"type": type(error).__name__, "message": sentence}})
        print(f"gdi {options.subcommand}: {sentence}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"gdi {options.subcommand}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output (head, less) has gone; nothing is left to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gdi", description="Onboard perception inference for UAVs that fly without GPS, on the desk."
    )
    parser.add_argument("--version", action="version", version=f"gdi {__version__}")
    subparsers = parser.add_subparsers(
        dest="subcommand",
        required=True,
        metavar="{" + ",".join(module.__name__.rsplit(".", 1)[-1] for module in _SUBCOMMANDS) + "}",
    )
    for module in _SUBCOMMANDS:
        module.add_parser(subparsers)
    return parser


if __name__ == "__main__":
    sys.exit(main())
