"""The `.msg` files, wherever this copy of the package is: installed by colcon, by pip, or a source checkout."""

from __future__ import annotations

from pathlib import Path

from gps_denied_inference.core.errors import ReplayError

__all__ = ["interface_files"]

_CORE = Path(__file__).resolve().parent.parent


def interface_files() -> dict[str, str]:
    """Return the message definitions, `GlobalDescriptor` → text of `GlobalDescriptor.msg`.

    Raises:
        ReplayError: the installation lacks them.
    """
    for folder in (_CORE / "interface_files", _CORE.parent.parent / "msg"):
        texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.msg"))}
        if texts:
            return texts
    raise ReplayError(f"no message definitions beside {_CORE}; the installation is incomplete: install it again")
