"""When to step: a state machine without a clock, a thread or an engine of its own."""

from __future__ import annotations

from dataclasses import dataclass

from gps_denied_inference.core.governor.conditions import Conditions, GovernorLimits

__all__ = ["Decision", "DegradationGovernor"]

_MOST_PATIENCE = 8
"""A step up that failed doubles the stable time of the next attempt, up to this many times."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to run from now on.

    Attributes:
        rung: 0 is the normal work.
        step: +1 one rung down, -1 one up, 0 stay.
        reason: why the step; empty when there is none.
    """

    rung: int
    step: int = 0
    reason: str = ""


class DegradationGovernor:
    """Steps down at once under stress, one rung each dwell; up again one rung after each stable time.

    A step up that stress takes back within its stable time has failed: the next attempt waits twice as long, so that a
    rung that cannot hold is not tried forever anew. Not thread-safe.

    Time is what passes between two calls. A clock that jumps back passes none, and one that jumps forward (a suspended
    computer) one dwell at most, because nobody looked meanwhile.

    Args:
        rung_count: rungs of the ladder, at least 1.
        limits: may be replaced between calls.
    """

    def __init__(self, rung_count: int, limits: GovernorLimits) -> None:
        self.limits = limits
        self._last_rung = rung_count - 1
        self._rung = 0
        self._last_now_ns: int | None = None
        self._since_step_s: float | None = None  # None: no step so far
        self._good_s = 0.0
        self._patience = 1
        self._is_on_trial = False

    @property
    def rung(self) -> int:
        return self._rung

    @property
    def seconds_to_step_up(self) -> float:
        """How much longer the conditions must stay good; 0 on the normal rung."""
        return max(0.0, self._wanted_good_s() - self._good_s) if self._rung else 0.0

    def decide(self, now_ns: int, conditions: Conditions) -> Decision:
        """Look at the conditions and step, or not. At most one rung a call, and one a dwell.

        Args:
            now_ns: steady clock.
            conditions: as they are now.
        """
        self._pass_time(now_ns)
        stress = self.limits.stress(conditions)
        if stress or not self.limits.is_good(conditions):
            self._good_s = 0.0
        if self._is_on_trial and not stress and self._good_s >= self.limits.stable_s:
            self._is_on_trial, self._patience = False, 1
        may_step = self._since_step_s is None or self._since_step_s >= self.limits.dwell_s
        if not may_step:
            return Decision(self._rung)
        if stress and self._rung < self._last_rung:
            if self._is_on_trial:
                self._is_on_trial, self._patience = False, min(2 * self._patience, _MOST_PATIENCE)
            return self._step(+1, stress)
        if not stress and self._rung and self._good_s >= self._wanted_good_s():
            decision = self._step(-1, f"good for {self._good_s:.1f} s")
            self._good_s, self._is_on_trial = 0.0, True
            return decision
        return Decision(self._rung)

    def _pass_time(self, now_ns: int) -> None:
        before_ns, self._last_now_ns = self._last_now_ns, now_ns
        if before_ns is None:
            return
        passed_s = min(max(0.0, (now_ns - before_ns) / 1e9), self.limits.dwell_s)
        self._good_s += passed_s
        if self._since_step_s is not None:
            self._since_step_s += passed_s

    def _wanted_good_s(self) -> float:
        return self.limits.stable_s * self._patience

    def _step(self, step: int, reason: str) -> Decision:
        self._rung += step
        self._since_step_s = 0.0
        return Decision(self._rung, step, reason)
