"""Where a frame's time went, and why a frame did not come out."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum

__all__ = ["DropReason", "StageTimings"]


@dataclass(frozen=True, slots=True)
class StageTimings:
    """Durations of the stages of one frame, milliseconds of the steady clock.

    Attributes:
        wait_ms: from reception to the start of work (time in the mailbox).
        decode_ms: bytes to an 8-bit image.
        preprocess_ms: resize, normalise, planar.
        infer_ms: the runtime, copies to and from the device included.
        postprocess_ms: top-K, coordinates, normalisation, finite check.
        total_ms: from reception to the end of postprocessing.
    """

    wait_ms: float
    decode_ms: float
    preprocess_ms: float
    infer_ms: float
    postprocess_ms: float
    total_ms: float

    def as_dict(self) -> dict[str, float]:
        """Field name to milliseconds, in the order of the frame's way."""
        return {item.name: float(getattr(self, item.name)) for item in fields(self)}


class DropReason(Enum):
    """Why a received frame was not published."""

    OVERWRITTEN = "overwritten"
    STALE = "stale"
    INACTIVE = "inactive"
    UNDECODABLE = "undecodable"
    NOT_FINITE = "not_finite"
    FAILED = "failed"
    RATE_LIMITED = "rate_limited"
    UNPAIRED = "unpaired"
    NOT_NEEDED = "not_needed"
