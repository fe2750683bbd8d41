"""What a heat episode did to a node: temperatures, the ladder's steps, and each frame's latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gps_denied_inference.core.evaluation.accounting import ReplayAccounting
from gps_denied_inference.core.evaluation.samples import HealthSample, ThermalSample

__all__ = ["HeatEpisode", "HeatFrame", "RungFigures", "RungSample"]


@dataclass(frozen=True, slots=True)
class HeatFrame:
    """One published frame; `time_s` since the first, `latency_ms` reception → result, `infer_ms` the network alone."""

    time_s: float
    latency_ms: float
    infer_ms: float
    keypoints: int
    space_id: str


@dataclass(frozen=True, slots=True)
class RungSample:
    """Where the node stood on its ladder when it reported; `time_s` since the first published frame."""

    time_s: float
    rung: int
    reason: str


@dataclass(frozen=True, slots=True)
class RungFigures:
    """What the frames of one rung were like; NaN without frames.

    Attributes:
        name, changes: of the rung.
        seconds: that it was in work, while frames came.
        frames: published on it.
        latency_p50_ms, infer_p50_ms, keypoints_p50: medians.
    """

    name: str
    changes: str
    seconds: float
    frames: int
    latency_p50_ms: float
    infer_p50_ms: float
    keypoints_p50: float

    @property
    def rate_hz(self) -> float:
        return self.frames / self.seconds if self.seconds > 0 else float("nan")


@dataclass(frozen=True, slots=True)
class HeatEpisode:
    """The episode.

    Attributes:
        model: network of the normal rung.
        rungs: name and changes of each rung, the normal one first.
        frames: published, in order.
        ladder: over time.
        health, thermal: over time.
        accounting: where every frame went.
        exit_status: of the node, after SIGINT.
    """

    model: str
    rungs: tuple[tuple[str, str], ...]
    frames: tuple[HeatFrame, ...]
    ladder: tuple[RungSample, ...]
    health: tuple[HealthSample, ...]
    thermal: tuple[ThermalSample, ...]
    accounting: ReplayAccounting
    exit_status: int

    def spans(self) -> list[tuple[float, float, RungSample]]:
        """Return (start, end, sample) of each stay on a rung while frames came, seconds."""
        end_s = self.frames[-1].time_s if self.frames else 0.0
        steps = [
            sample
            for index, sample in enumerate(self.ladder)
            if index == 0 or sample.rung != self.ladder[index - 1].rung
        ]
        ends = [*(sample.time_s for sample in steps[1:]), end_s]
        found = [
            (max(0.0, step.time_s), min(end, end_s), step) for step, end in zip(steps, ends, strict=True) if end > 0.0
        ]
        return [span for span in found if span[1] > span[0]]

    def figures(self) -> list[RungFigures]:
        """Return what the frames of each rung were like."""
        return [self._figures_of(rung) for rung in range(len(self.rungs))]

    def _figures_of(self, rung: int) -> RungFigures:
        spans = [(start, end) for start, end, sample in self.spans() if sample.rung == rung]
        frames = [frame for frame in self.frames if any(start <= frame.time_s < end for start, end in spans)]
        name, changes = self.rungs[rung]
        return RungFigures(
            name,
            changes,
            seconds=sum(end - start for start, end in spans),
            frames=len(frames),
            latency_p50_ms=_median([frame.latency_ms for frame in frames]),
            infer_p50_ms=_median([frame.infer_ms for frame in frames]),
            keypoints_p50=_median([frame.keypoints for frame in frames]),
        )

    def problems(self, *, judges_steps: bool = True) -> list[str]:
        """Return what the episode did not live up to, in words; empty when it passed.

        Args:
            judges_steps: the ladder must have been gone down to its end and up again.
        """
        found = [f"heat episode: {violation}" for violation in self.accounting.violations()]
        if self.exit_status != 0:
            found.append(f"heat episode: the node ended with status {self.exit_status} after SIGINT")
        if not judges_steps:
            return found
        rungs = [sample.rung for sample in self.ladder]
        lowest = len(self.rungs) - 1
        if not any(sample.state.thermal_throttle_active for sample in self.thermal):
            found.append("heat episode: the node never said that it throttles")
        if max(rungs, default=0) < lowest:
            found.append(f"heat episode: the node reached rung {max(rungs, default=0)} of {lowest}")
        elif rungs[-1] != 0:
            found.append(f"heat episode: the node was still on rung {rungs[-1]} at the end, not back to normal")
        return found


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else float("nan")
