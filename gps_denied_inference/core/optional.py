"""The one import guard for packages that not every machine has."""

from __future__ import annotations

import importlib
from types import ModuleType

from gps_denied_inference.core.errors import RuntimeNotAvailableError

__all__ = ["require"]


def require(module: str, *, install: str, purpose: str) -> ModuleType:
    """Import an optional package, or say how to get it.

    Args:
        module: dotted module name, e.g. `torch` or `kornia.feature`.
        install: command that installs it, e.g. `pip install torch==2.13.0`.
        purpose: what needs it, e.g. `the pytorch_fp16 runtime`.

    Raises:
        RuntimeNotAvailableError: the package is absent or broken on this machine; names it and the install command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RuntimeNotAvailableError(
            f"{purpose} needs the Python package '{module.split('.')[0]}', which cannot be imported here "
            f"({error}); install it with: {install}"
        ) from error
