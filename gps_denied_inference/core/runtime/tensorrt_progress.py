"""How far a build is: TensorRT's nested phases as one fraction that only grows, and a way to cancel."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["BuildProgress", "make_progress_monitor"]


@dataclass(slots=True)
class _Phase:
    name: str
    parent: str | None
    steps: int
    done: int = 0


class BuildProgress:
    """Listens to a build. TensorRT calls it from its own threads.

    Args:
        on_progress: called with the name of the phase and the fraction of the whole build that is done, 0 to 1.
        is_cancelled: asked at every step; once it returns True the build ends without a result.
    """

    def __init__(
        self,
        on_progress: Callable[[str, float], None] = lambda _phase, _fraction: None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self._on_progress = on_progress
        self._is_cancelled = is_cancelled
        self._lock = threading.Lock()
        self._phases: dict[str, _Phase] = {}
        self._fraction = 0.0
        self._root = ""
        self.was_cancelled = False
        self.error: BaseException | None = None
        """What a callback raised (Ctrl-C too): it must not cross TensorRT, so the build is cancelled instead."""

    def start(self, name: str, parent: str | None, steps: int) -> None:
        def note() -> None:
            self._phases[name] = _Phase(name, parent, max(steps, 1))

        self._guarded(lambda: self._tell(name, note))

    def step(self, name: str, index: int) -> bool:
        """Note a step that is complete; False ends the build."""

        def note() -> None:
            phase = self._phases.get(name)
            if phase is not None:
                phase.done = min(index + 1, phase.steps)

        self._guarded(lambda: self._tell(name, note))
        if self.error is None and not self.was_cancelled:
            self.was_cancelled = self._guarded(self._is_cancelled) is True
        return self.error is None and not self.was_cancelled

    def finish(self, name: str) -> None:
        """Note that a phase is over. It may have left steps out; its parent tells of its own step a moment later."""
        self._guarded(lambda: self._tell(name, lambda: self._phases.pop(name, None)))

    def complete(self) -> None:
        """Tell that the build has succeeded: only its result says so, TensorRT announces steps that it never takes."""

        def note() -> None:
            self._phases.clear()
            self._fraction = 1.0

        self._guarded(lambda: self._tell(self._root, note))

    def _tell(self, name: str, note: Callable[[], object]) -> None:
        with self._lock:
            note()
            roots = [phase for phase in self._phases.values() if phase.parent not in self._phases]
            # Fractions of parallel or unforeseen phases may fall back; what was told never does.
            self._fraction = max(self._fraction, max((self._done(phase) for phase in roots), default=0.0))
            self._root = roots[0].name if roots else self._root
            fraction = self._fraction
        if self.error is None:
            self._on_progress(name, fraction)

    def _done(self, phase: _Phase) -> float:
        children = [item for item in self._phases.values() if item.parent == phase.name and item is not phase]
        inside = max((self._done(child) for child in children), default=0.0)
        return min((phase.done + inside) / phase.steps, 1.0)

    def _guarded(self, call: Callable[[], object]) -> object:
        try:
            return call()
        except BaseException as error:  # Ctrl-C comes wherever it likes, also between our own lines
            self.error = self.error or error
            return None


def make_progress_monitor(module: Any, progress: BuildProgress) -> Any:
    """Wrap a listener for a TensorRT module."""

    class Monitor(module.IProgressMonitor):
        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            progress.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return progress.step(phase_name, step)

        def phase_finish(self, phase_name: str) -> None:
            progress.finish(phase_name)

    return Monitor()
