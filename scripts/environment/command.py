"""Runs one child program with its output in a log file."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["run_logged"]

PROGRESS_INTERVAL_S = 5.0


def run_logged(
    arguments: Sequence[str | Path], *, log: Path, environment: Mapping[str, str], directory: Path
) -> tuple[int, str]:
    """Run a program, write all it prints to a log file, and print a dot now and then.

    Returns:
        Exit status and everything the program printed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    is_done = threading.Event()

    def show_progress() -> None:
        while not is_done.wait(PROGRESS_INTERVAL_S):
            print(".", end="", flush=True)

    ticker = threading.Thread(target=show_progress, daemon=True)
    ticker.start()
    try:
        with log.open("w", encoding="utf-8") as stream:
            status = subprocess.run(
                [str(argument) for argument in arguments],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=directory,
                check=False,
            ).returncode
    finally:
        is_done.set()
        ticker.join()
        sys.stdout.flush()
    return status, log.read_text(encoding="utf-8", errors="replace")
