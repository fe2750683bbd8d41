"""What the program shows: progress bars and tables on a terminal, plain lines elsewhere."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

__all__ = ["ShowProgress", "json_text", "note", "progress", "say", "say_json", "table"]

_PLAIN_PERIOD_S = 5.0
"""How often a plain line tells the progress, whether or not there is any."""
_BAR_WIDTH = 20


class ShowProgress(Protocol):
    """Takes the number of steps done so far, and what is done now where the title does not say it."""

    def __call__(self, done: int, doing: str = "") -> None: ...


def say(text: str) -> None:
    """Write a line at once."""
    print(text, flush=True)


def note(text: str) -> None:
    """Write a line to people: on stderr, since stdout may be for a program."""
    print(text, file=sys.stderr, flush=True)


def say_json(document: Any) -> None:
    """Write the one JSON document that `--json` promises."""
    say(json_text(document))


def json_text(document: Any) -> str:
    """Return a document as JSON. NaN and infinities become null: JSON has none."""
    return json.dumps(_without_nan(document), indent=2, allow_nan=False)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@contextmanager
def progress(title: str, total: int, *, period_s: float = _PLAIN_PERIOD_S) -> Iterator[ShowProgress]:
    """Show the progress of a task, also while nothing comes of it: a bar with a clock, or a line each period.

    Args:
        title: what is done.
        total: steps.
        period_s: between plain lines, seconds.

    Yields:
        what takes the steps; call it from any thread.
    """
    if sys.stderr.isatty() and importlib.util.find_spec("rich") is not None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            *(TextColumn("{task.description}"), BarColumn(_BAR_WIDTH), MofNCompleteColumn()),
            *(TimeElapsedColumn(), TimeRemainingColumn()),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(title, total=total)

            def move(done: int, doing: str = "") -> None:
                bar.update(task, completed=done, description=f"{title}: {doing}" if doing else title)

            yield move
        return
    lines = _PlainProgress(title, total, period_s)
    lines.start()
    try:
        yield lines.show
    finally:
        lines.stop()
    lines.finish()


class _PlainProgress:
    """Lines on stderr, from a thread of its own: what is busy for minutes, such as a compiler, says nothing itself."""

    def __init__(self, title: str, total: int, period_s: float) -> None:
        self._title = title
        self._total = total
        self._period_s = period_s
        self._latest = (0, "")
        self._start_s = time.monotonic()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="progress", daemon=True)

    def start(self) -> None:
        self._write(f"{self._title} ...")
        self._thread.start()

    def show(self, done: int, doing: str = "") -> None:
        self._latest = (done, doing)

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join()

    def finish(self) -> None:
        self._write(f"{self._title}: {self._latest[0]} of {self._total} in {time.monotonic() - self._start_s:.1f} s")

    def _repeat(self) -> None:
        while not self._is_over.wait(self._period_s):
            done, doing = self._latest
            now = f"{doing}, " if doing else ""
            self._write(f"{self._title}: {now}{done} of {self._total}, {time.monotonic() - self._start_s:.0f} s")

    @staticmethod
    def _write(line: str) -> None:
        print(line, file=sys.stderr, flush=True)


def table(rows: Sequence[tuple[str, str]]) -> str:
    """Return two aligned columns."""
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in rows)
