"""Parameters of nodes under test, as on the command line."""

from __future__ import annotations

from pathlib import Path

__all__ = ["REAL_ENGINE", "fake_parameters"]

REAL_ENGINE = ("allow_cpu_fallback:=true", "allow_ungated:=true")
"""The default network with its published weights, on the CPU where there is no GPU."""


def fake_parameters(folder: Path, script: str) -> tuple[str, ...]:
    """Parameters of a node that runs the fake runtime with this YAML script."""
    path = folder / "script.yaml"
    path.write_text(script + "\n")
    return ("primary.runtime:=fake", f"primary.checkpoint:={path}", "allow_ungated:=true")
