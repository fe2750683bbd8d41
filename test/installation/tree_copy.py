"""A copy of this checkout's sources, to set up or build without touching the checkout."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

__all__ = ["ROOT", "bare_environment", "copy_sources"]

ROOT = Path(__file__).resolve().parents[2]

# Made by set-up, tests and editors; a copy starts without them.
MADE = shutil.ignore_patterns(
    "build", "install", "log", "dist", "docs", ".*", "__pycache__", "*.egg-info", "*.pyc", "test"
)


def copy_sources(destination: Path) -> Path:
    """Copy what is needed to set up, build and package; returns the copy's root."""
    shutil.copytree(ROOT, destination, ignore=MADE, symlinks=True)
    return destination


def bare_environment(home: Path, **changes: str) -> dict[str, str]:
    """Variables of a shell in which nothing is sourced or activated; pip's configuration is kept."""
    environment = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "LANG", "LC_"))}
    home.mkdir(parents=True, exist_ok=True)
    environment |= {"HOME": str(home), "PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"}
    return environment | changes
