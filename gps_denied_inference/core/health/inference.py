"""Diagnostic task `inference`: rate, latency, drops, failures."""

from __future__ import annotations

from dataclasses import dataclass

from gps_denied_inference.core.contracts import DropReason
from gps_denied_inference.core.health.status import Level, TaskStatus
from gps_denied_inference.core.pipeline import FrameCounts, LatencySummary

__all__ = ["InferenceLimits", "InferenceReading", "inference_status"]

_FEWEST_OVERWRITTEN = 2
"""One frame that comes early beside another is no overload, however few there are."""


@dataclass(frozen=True, slots=True)
class InferenceReading:
    """What is known of the work on frames.

    Attributes:
        counts: since configure.
        window: what was counted in the last seconds, which is judged: whoever looks once a second at ten reports of it
            sees every failure.
        latency: of the published frames.
        last_error: last error met by the worker.
        engine_reloads: since configure, because a call had hung.
        output_qos_incompatibility: of a subscriber to the features that gets none, in words; empty without one.
    """

    counts: FrameCounts
    window: FrameCounts
    latency: LatencySummary
    last_error: str
    engine_reloads: int = 0
    output_qos_incompatibility: str = ""


@dataclass(frozen=True, slots=True)
class InferenceLimits:
    """When the work is worth a word.

    Attributes:
        max_frame_age_ms: beyond it frames are dropped as stale.
        overload_warn_share: share of the frames in the window that may be overwritten by newer ones.
        deadline_ms: a 95th percentile of the latency above it is WARN.
    """

    max_frame_age_ms: float
    overload_warn_share: float
    deadline_ms: float


def inference_status(reading: InferenceReading, limits: InferenceLimits) -> TaskStatus:
    """Judge the work on frames by what the window holds.

    Returns:
        ERROR when frames failed, outputs were not finite, no frame could be decoded, or frames come in and none has
        come out for long. WARN when some were undecodable or stale, none came out, the camera is so much faster than
        the network that many frames are overwritten, features come too late, or a subscriber's QoS keeps them from it.
        Else OK.
    """
    counts, window, latency = reading.counts, reading.window, reading.latency
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
        "latency_recent_p95_ms": f"{latency.recent_p95_ms:.2f}",
        **{
            stage: f"p50 {p50:.2f}, p95 {p95:.2f}, p99 {p99:.2f}, max {highest:.2f}"
            for stage, (p50, p95, p99, highest) in latency.stages.items()
        },
        "engine_reloads": str(reading.engine_reloads),
        "output_qos_incompatibility": reading.output_qos_incompatibility,
        "last_error": reading.last_error,
    }

    def status(level: Level, message: str) -> TaskStatus:
        return TaskStatus("inference", level, message, values)

    failed, undecodable, not_finite, stale, overwritten = (
        window.dropped[reason]
        for reason in (
            DropReason.FAILED,
            DropReason.UNDECODABLE,
            DropReason.NOT_FINITE,
            DropReason.STALE,
            DropReason.OVERWRITTEN,
        )
    )
    if failed:
        message = f"{failed} frames failed ({reading.last_error})"
        return status(Level.ERROR, f"{message}; cleanup and configure if it goes on")
    if not_finite:
        return status(Level.ERROR, f"{not_finite} outputs were NaN or Inf and withheld; check the engine")
    if undecodable:
        message = f"{undecodable} frames were undecodable ({reading.last_error})"
        level = Level.WARN if window.published else Level.ERROR
        return status(level, f"{message}; check the camera's encoding")
    if stale:
        message = f"{stale} frames waited longer than max_frame_age_ms = {limits.max_frame_age_ms:g}"
        return status(Level.WARN, f"{message}; lower the camera's rate")
    if overwritten and not window.published:
        level = Level.WARN if latency.count else Level.ERROR
        message = "frames come in and none comes out: the network does not return"
        return status(level, f"{message}; restart the process if it goes on")
    if overwritten >= _FEWEST_OVERWRITTEN and overwritten > limits.overload_warn_share * window.received:
        return status(
            Level.WARN,
            f"overload: {overwritten} of {window.received} frames were overwritten by newer ones before the network "
            "was free; lower the camera's rate, take a faster engine or give a degradation_ladder",
        )
    if latency.recent_p95_ms > limits.deadline_ms:
        return status(
            Level.WARN,
            f"one frame in 20 is ready later than {latency.recent_p95_ms:.0f} ms after its reception, more than "
            f"deadline_ms = {limits.deadline_ms:g}; lower the camera's rate, take a faster engine or give a "
            "degradation_ladder",
        )
    if reading.output_qos_incompatibility:
        return status(
            Level.WARN,
            f"a subscriber gets no features, for its QoS asks for more than is offered "
            f"({reading.output_qos_incompatibility}); set its QoS, or output_reliability, to match",
        )
    return status(Level.OK, f"{latency.count} frames in the window")
