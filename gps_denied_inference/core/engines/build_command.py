"""The line that builds an engine, for messages: run as printed, it works."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from gps_denied_inference.core.contracts import PrecisionMode, RuntimeLabel

__all__ = ["build_command"]


def build_command(
    model: str, runtime: RuntimeLabel, precision: PrecisionMode, store: Path, options: Sequence[str] = ()
) -> str:
    """Return the command for a shell, in any folder.

    Args:
        model: architecture.
        runtime: that is to run it.
        precision: of its arithmetic.
        store: folder of the engine store.
        options: more arguments, e.g. `("--provider", "cuda")`.
    """
    return shlex.join(
        (
            *("gdi", "engine", "build", model),
            *("--runtime", runtime.value),
            *("--precision", precision.value),
            *("--store", str(store.absolute())),
            *options,
        )
    )
