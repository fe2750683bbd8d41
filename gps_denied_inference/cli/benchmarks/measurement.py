"""What a benchmark measures, and how: contenders in turn, so that a busy moment of the machine meets all alike."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np

__all__ = ["BenchPlan", "Comparison", "Contender", "PartReport", "Role", "Row", "in_turn", "row_of"]


class Role(Enum):
    """What a row stands for."""

    LIMIT = "limit"
    OURS = "ours"
    BASELINE = "baseline"
    ALTERNATIVE = "alternative"


@dataclass(frozen=True, slots=True)
class BenchPlan:
    """How much is measured, and where.

    Attributes:
        output: folder for reports, engines and logs.
        repetitions: timed calls of each contender.
        warm_up: calls before.
        seconds: of each run of whole nodes.
        frames: of the memory test.
        device: `cpu` or `cuda:0`.
    """

    output: Path
    repetitions: int = 100
    warm_up: int = 10
    seconds: float = 8.0
    frames: int = 10_000
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class Row:
    """One measured way.

    Attributes:
        role: what it stands for.
        name: what it does.
        median: in the unit of the comparison; lower is better.
        noise: half the distance between the quartiles, same unit.
        count: of samples.
        facts: further figures, by name.
    """

    role: Role
    name: str
    median: float
    noise: float
    count: int
    facts: dict[str, float] = field(default_factory=dict)

    @property
    def lost_every_frame(self) -> bool:
        """Frames were sent and none was answered: there is no time to tell, and that is what was found."""
        return self.facts.get("received") == 0.0 and self.facts.get("sent", 0.0) > 0.0

    def problem(self) -> str:
        """Why it is no measurement; empty when it is one. The naive way may lose every frame, ours may not."""
        if self.count and math.isfinite(self.median):
            return ""
        is_beside_ours = self.role in (Role.BASELINE, Role.ALTERNATIVE)
        return "" if is_beside_ours and self.lost_every_frame else f"'{self.name}' was not measured"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Ways of doing the same, measured in the same run.

    Attributes:
        case: what was done.
        unit: of the medians.
        rows: with a limit, ours and a baseline.
        target: largest ratio of ours to the limit that is aimed at; NaN when the aim is another figure.
        aim: in words.
    """

    case: str
    unit: str
    rows: tuple[Row, ...]
    target: float = math.nan
    aim: str = ""

    def ratio(self, row: Row) -> float:
        """Of a row's median to the limit's; NaN without a limit."""
        limits = [other.median for other in self.rows if other.role is Role.LIMIT]
        return row.median / limits[0] if limits and limits[0] > 0 else math.nan

    def problems(self) -> list[str]:
        """What is missing, in sentences."""
        found = [
            f"{self.case}: no row '{role.value}'"
            for role in (Role.LIMIT, Role.OURS, Role.BASELINE)
            if all(row.role is not role for row in self.rows)
        ]
        return found + [f"{self.case}: {row.problem()}" for row in self.rows if row.problem()]


@dataclass(frozen=True, slots=True)
class PartReport:
    """What one part measured.

    Attributes:
        letter, name, title: of the part.
        comparisons: its tables.
        notes: what was left out, and why.
    """

    letter: str
    name: str
    title: str
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...] = ()

    def problems(self) -> list[str]:
        """What is missing, in sentences."""
        if not self.comparisons:
            return [f"part {self.letter} ({self.name}) measured nothing"]
        return [f"part {self.letter} ({self.name}), {text}" for item in self.comparisons for text in item.problems()]


@dataclass(frozen=True, slots=True)
class Contender:
    """A way that is timed call by call.

    Attributes:
        role, name: of its row.
        run: what is timed.
        prepare: called before each, untimed.
        facts: of its row.
    """

    role: Role
    name: str
    run: Callable[[], object]
    prepare: Callable[[], object] = lambda: None
    facts: dict[str, float] = field(default_factory=dict)


def in_turn(
    contenders: Sequence[Contender], plan: BenchPlan, *, clock: Callable[[], int] = time.perf_counter_ns
) -> tuple[Row, ...]:
    """Time contenders call by call, each once a round. Rows are in milliseconds.

    Every round has an order of its own, the same in every run of the benchmark: in the long run each contender finds
    the caches as often as the others do as one of them, or itself, left them. To and fro would not do: those at the two
    ends would follow themselves every other time.

    Args:
        contenders: in the order of the rows.
        plan: repetitions and warm-up.
        clock: nanoseconds.
    """
    samples: list[list[float]] = [[] for _ in contenders]
    pairs = list(zip(contenders, samples, strict=True))
    order = random.Random(0)
    for turn in range(plan.warm_up + plan.repetitions):
        order.shuffle(pairs)
        for contender, times in pairs:
            contender.prepare()
            start = clock()
            contender.run()
            duration_ms = (clock() - start) / 1e6
            if turn >= plan.warm_up:
                times.append(duration_ms)
    return tuple(
        row_of(contender.role, contender.name, times, contender.facts)
        for contender, times in zip(contenders, samples, strict=True)
    )


def row_of(role: Role, name: str, samples: Sequence[float], facts: dict[str, float] | None = None) -> Row:
    """Median and noise of samples; without any the row says that nothing was measured."""
    if not samples:
        return Row(role, name, math.nan, math.nan, 0, dict(facts or {}))
    lower, median, upper = np.percentile(np.asarray(samples, np.float64), (25, 50, 75))
    return Row(role, name, float(median), float(upper - lower) / 2, len(samples), dict(facts or {}))
