"""How near two runtimes of one network are to each other."""

from __future__ import annotations

from dataclasses import dataclass

from gps_denied_inference.core.evaluation.percentiles import Percentiles

__all__ = ["RuntimeAgreement"]


@dataclass(frozen=True, slots=True)
class RuntimeAgreement:
    """Descriptors and times of the same frames, in the same process.

    Attributes:
        flown: label of the runtime that the node ran.
        baseline: of the other one.
        frames: number of frames.
        cosine_min, cosine_median: of the two descriptors of a frame.
        flown_infer_ms, baseline_infer_ms: time of the networks alone.
    """

    flown: str
    baseline: str
    frames: int
    cosine_min: float
    cosine_median: float
    flown_infer_ms: Percentiles
    baseline_infer_ms: Percentiles

    @property
    def speed_up(self) -> float:
        """How many times faster than the baseline the flown runtime is, by medians."""
        return self.baseline_infer_ms.p50 / self.flown_infer_ms.p50
