"""What the governor looks at: heat, deadlines, memory."""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from gps_denied_inference.core.contracts import DropReason
from gps_denied_inference.core.pipeline import FrameCounts

__all__ = ["Conditions", "DeadlineWatch", "GovernorLimits", "used_memory_share"]

_MISSES = (DropReason.OVERWRITTEN, DropReason.STALE)
"""A frame that was overwritten or went stale came while the network was still busy with an earlier one."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """How the computer and the work are, at one moment.

    Attributes:
        is_throttling: the clocks are held down because of heat or power.
        throttle_cause: why, in words.
        miss_ratio: share of the recent frames that missed the deadline; NaN without enough frames to tell.
        memory_share: share of the computer's memory that is in use; NaN when unknown.
    """

    is_throttling: bool = False
    throttle_cause: str = ""
    miss_ratio: float = math.nan
    memory_share: float = math.nan


@dataclass(frozen=True, slots=True)
class GovernorLimits:
    """When to step, and how often.

    Attributes:
        dwell_s: shortest time between two steps, seconds.
        stable_s: how long the conditions must be good before a step up, seconds.
        miss_ratio: more misses than this are stress; at most half of it is good.
        memory_share: more use than this is stress; at most 0.02 less is good.
    """

    dwell_s: float = 5.0
    stable_s: float = 30.0
    miss_ratio: float = 0.2
    memory_share: float = 0.95

    def stress(self, conditions: Conditions) -> str:
        """Say what asks for a step down; empty when nothing does. What is unknown asks for none."""
        found = []
        if conditions.is_throttling:
            found.append(f"throttling ({conditions.throttle_cause or 'cause unknown'})")
        if conditions.miss_ratio > self.miss_ratio:
            found.append(f"{conditions.miss_ratio:.0%} of the frames missed the deadline")
        if conditions.memory_share > self.memory_share:
            found.append(f"{conditions.memory_share:.0%} of the memory is in use")
        return "; ".join(found)

    def is_good(self, conditions: Conditions) -> bool:
        """Tell whether there is room for a step up: the middle between stress and good asks for neither."""
        return (
            not conditions.is_throttling
            and not conditions.miss_ratio > self.miss_ratio / 2
            and not conditions.memory_share > self.memory_share - 0.02
        )


class DeadlineWatch:
    """Share of the recent frames that missed their deadline. Thread-safe.

    A frame is missed when its features came later than the deadline, or when it was overwritten or went stale. Frames
    that were not to be worked on (rate-limited, inactive) and those that failed are not counted.

    Args:
        window_s: how far back it looks, seconds.
        least_frames: fewer than this tell nothing.
    """

    def __init__(self, window_s: float = 2.0, least_frames: int = 4) -> None:
        self._window_ns = int(window_s * 1e9)
        self._least_frames = least_frames
        self._lock = threading.Lock()
        self._late = 0
        # (time, published, late, overwritten or stale), all since the beginning.
        self._marks: deque[tuple[int, int, int, int]] = deque()

    def published(self, latency_ms: float, deadline_ms: float) -> None:
        """Count a frame that was published, by its age since reception."""
        if latency_ms > deadline_ms:
            with self._lock:
                self._late += 1

    def forget(self) -> None:
        """Start the window anew, after a step: what was before says nothing of what is now."""
        with self._lock:
            self._marks.clear()

    def miss_ratio(self, now_ns: int, counts: FrameCounts) -> float:
        """Return the share of the frames since the window's beginning; NaN while they are too few.

        Args:
            now_ns: steady clock.
            counts: of the node's ledger, now.
        """
        missed = sum(counts.dropped[reason] for reason in _MISSES)
        with self._lock:
            if self._marks and (now_ns < self._marks[-1][0] or counts.published < self._marks[-1][1]):
                self._marks.clear()  # the clock jumped back, or the counters started anew
            self._marks.append((now_ns, counts.published, self._late, missed))
            while len(self._marks) > 2 and now_ns - self._marks[1][0] >= self._window_ns:
                self._marks.popleft()
            first, last = self._marks[0], self._marks[-1]
        published, late, dropped = (last[index] - first[index] for index in (1, 2, 3))
        if published + dropped < self._least_frames:
            return math.nan
        return (min(late, published) + dropped) / (published + dropped)


def used_memory_share(meminfo: Path = Path("/proc/meminfo")) -> float:
    """Return the share of the computer's memory that is in use, 0 to 1; NaN when it cannot be read.

    A Jetson's GPU takes its memory from the same.
    """
    try:
        fields = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines() if ":" in line)
        total, available = (int(fields[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
        return 1.0 - available / total
    except (OSError, KeyError, ValueError, IndexError, ZeroDivisionError):
        return math.nan
