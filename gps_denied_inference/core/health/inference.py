"""Diagnostic task `inference`: rate, latency, drops, failures."""

from __future__ import annotations

from gps_denied_inference.core.contracts import DropReason
from gps_denied_inference.core.health.status import Level, TaskStatus
from gps_denied_inference.core.pipeline import FrameCounts, LatencySummary

__all__ = ["inference_status"]

_FEWEST_OVERWRITTEN = 2
"""One frame that comes early beside another is no overload, however few there are."""


def inference_status(
    counts: FrameCounts,
    recent: FrameCounts,
    latency: LatencySummary,
    last_error: str,
    max_frame_age_ms: float,
    *,
    window: FrameCounts,
    overload_warn_share: float,
    engine_reloads: int = 0,
) -> TaskStatus:
    """Judge the work on frames.

    Args:
        counts: since configure.
        recent: since the last report (`pending` as it stands).
        latency: of the published frames in the window.
        last_error: last error met by the worker.
        max_frame_age_ms: the limit beyond which frames are dropped as stale.
        window: what was counted in the last seconds.
        overload_warn_share: share of the frames in `window` that may be overwritten by newer ones without a word.
        engine_reloads: since configure, because a call had hung.

    Returns:
        ERROR when frames failed, outputs were not finite, none of the recent frames could be decoded, or frames come
        in and none has come out within the window. WARN when some were undecodable or stale, none came out since the
        last report, or the camera is so much faster than the network that many frames are overwritten. Else OK.
    """
    values = {
        "received": str(counts.received),
        "published": str(counts.published),
        "pending": str(counts.pending),
        **{f"dropped_{reason.value}": str(count) for reason, count in counts.dropped.items()},
        "rate_hz": f"{latency.rate_hz:.2f}",
        "latency_p50_ms": f"{latency.p50_ms:.2f}",
        "latency_p95_ms": f"{latency.p95_ms:.2f}",
        "latency_p99_ms": f"{latency.p99_ms:.2f}",
        "latency_max_ms": f"{latency.max_ms:.2f}",
        **{
            stage: f"p50 {p50:.2f}, p95 {p95:.2f}, p99 {p99:.2f}, max {highest:.2f}"
            for stage, (p50, p95, p99, highest) in latency.stages.items()
        },
        "engine_reloads": str(engine_reloads),
        "last_error": last_error,
    }
    failed, undecodable, not_finite, stale = (
        recent.dropped[reason]
        for reason in (DropReason.FAILED, DropReason.UNDECODABLE, DropReason.NOT_FINITE, DropReason.STALE)
    )
    if failed:
        return TaskStatus(
            "inference",
            Level.ERROR,
            f"{failed} frames failed ({last_error}); cleanup and configure if it goes on",
            values,
        )
    if not_finite:
        return TaskStatus(
            "inference", Level.ERROR, f"{not_finite} outputs were NaN or Inf and withheld; check the engine", values
        )
    if undecodable:
        level = Level.WARN if recent.published else Level.ERROR
        return TaskStatus(
            "inference",
            level,
            f"{undecodable} frames were undecodable ({last_error}); check the camera's encoding",
            values,
        )
    if stale:
        message = f"{stale} frames waited longer than max_frame_age_ms = {max_frame_age_ms:g}; lower the camera's rate"
        return TaskStatus("inference", Level.WARN, message, values)
    if recent.dropped[DropReason.OVERWRITTEN] and not recent.published:
        level = Level.WARN if latency.count else Level.ERROR
        message = "frames come in and none comes out: the network does not return; restart the process if it goes on"
        return TaskStatus("inference", level, message, values)
    overwritten = window.dropped[DropReason.OVERWRITTEN]
    if overwritten >= _FEWEST_OVERWRITTEN and overwritten > overload_warn_share * window.received:
        message = (
            f"overload: {overwritten} of {window.received} frames were overwritten by newer ones before the network "
            "was free; lower the camera's rate, take a faster engine or give a degradation_ladder"
        )
        return TaskStatus("inference", Level.WARN, message, values)
    return TaskStatus("inference", Level.OK, f"{latency.count} frames in the window", values)
