"""What the program shows: progress bars and tables on a terminal, plain lines elsewhere."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

__all__ = ["progress", "say", "table"]

_PLAIN_PERIOD_S = 5.0
"""How often a plain line tells the progress."""


def say(text: str) -> None:
    """Write a line at once."""
    print(text, flush=True)


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show the progress of a task.

    Args:
        title: what is done.
        total: steps.

    Yields:
        a function that takes the number of steps done so far.
    """
    if sys.stderr.isatty() and importlib.util.find_spec("rich") is not None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(title, total=total)
            yield lambda done: bar.update(task, completed=done)
        return
    start = last = time.monotonic()
    print(f"{title} ...", file=sys.stderr, flush=True)
    latest = 0

    def show(done: int) -> None:
        nonlocal last, latest
        latest = done
        if time.monotonic() - last >= _PLAIN_PERIOD_S:
            last = time.monotonic()
            print(f"{title}: {done} of {total}", file=sys.stderr, flush=True)

    yield show
    print(f"{title}: {latest} of {total} in {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)


def table(rows: Sequence[tuple[str, str]]) -> str:
    """Return two aligned columns."""
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in rows)
