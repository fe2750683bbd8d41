"""Diagnostic task of a node that takes messages of other nodes: do they come, and what becomes of them?"""

from __future__ import annotations

from dataclasses import dataclass

from gps_denied_inference.core.contracts import DropReason
from gps_denied_inference.core.health.status import Level, TaskStatus
from gps_denied_inference.core.pipeline import FrameCounts, LatencySummary

__all__ = ["MessageReading", "message_status"]

_FEWEST_OVERWRITTEN = 2
"""One message that comes early beside another is no overload."""


@dataclass(frozen=True, slots=True)
class MessageReading:
    """What is known of the messages.

    Attributes:
        topic: they come on; empty while nothing is subscribed.
        publisher_count: of that topic.
        seconds_since_last: since the last one came; None before the first.
        is_working: messages are expected.
        counts: since configure.
        latency: of what was published in the window.
        last_error: last error met by the worker.
    """

    topic: str
    publisher_count: int
    seconds_since_last: float | None
    is_working: bool
    counts: FrameCounts
    latency: LatencySummary
    last_error: str


def message_status(
    name: str,
    reading: MessageReading,
    *,
    window: FrameCounts,
    timeout_s: float,
    overload_warn_share: float,
    is_unpaired_normal: bool = False,
) -> TaskStatus:
    """Judge the work on messages.

    Args:
        name: of the task.
        reading: of this moment.
        window: what was counted in the last seconds, which is judged: whoever looks once a second at ten reports of
            it sees every failure.
        timeout_s: longest silence.
        overload_warn_share: share of the messages in `window` that may be overwritten by newer ones without a word.
        is_unpaired_normal: what belongs to a message comes for some of them only.

    Returns:
        ERROR when messages failed, a network's output was not finite, or what belongs to them came for none of them
        (then WARN where it comes for some only). WARN when none came for too long, it did not come for some, some went
        stale, or many were overwritten. Else OK.
    """
    counts, latency = reading.counts, reading.latency
    values = {
        "topic": reading.topic,
        "publishers": str(reading.publisher_count),
        "received": str(counts.received),
        "published": str(counts.published),
        "pending": str(counts.pending),
        **{f"dropped_{reason.value}": str(count) for reason, count in counts.dropped.items()},
        "rate_hz": f"{latency.rate_hz:.2f}",
        "latency_p50_ms": f"{latency.p50_ms:.2f}",
        "latency_p95_ms": f"{latency.p95_ms:.2f}",
        "latency_max_ms": f"{latency.max_ms:.2f}",
        "last_error": reading.last_error,
    }
    if not reading.topic:
        return TaskStatus(name, Level.OK, "not subscribed; configure the node", values)
    failed = window.dropped[DropReason.FAILED] + window.dropped[DropReason.NOT_FINITE]
    if failed:
        message = f"{failed} messages could not be used ({reading.last_error})"
        return TaskStatus(name, Level.ERROR, f"{message}; check the node that publishes them", values)
    if reading.is_working and (reading.seconds_since_last is None or reading.seconds_since_last > timeout_s):
        since = "yet" if reading.seconds_since_last is None else f"for {reading.seconds_since_last:.1f} s"
        message = f"no message on {reading.topic} {since} ({reading.publisher_count} publishers)"
        return TaskStatus(name, Level.WARN, f"{message}; check the node that publishes it", values)
    unpaired = window.dropped[DropReason.UNPAIRED]
    answered = window.published + window.dropped[DropReason.NOT_NEEDED]
    if unpaired and not (is_unpaired_normal and answered):
        level = Level.WARN if answered or is_unpaired_normal else Level.ERROR
        message = f"{unpaired} messages waited in vain for what belongs to them"
        return TaskStatus(name, level, f"{message}; check the node that publishes it, and its stamps", values)
    stale = window.dropped[DropReason.STALE]
    if stale:
        message = f"{stale} messages waited longer than max_frame_age_ms"
        return TaskStatus(name, Level.WARN, f"{message}; lower their rate", values)
    overwritten = window.dropped[DropReason.OVERWRITTEN]
    if overwritten >= _FEWEST_OVERWRITTEN and overwritten > overload_warn_share * window.received:
        message = f"overload: {overwritten} of {window.received} messages gave way to newer ones"
        return TaskStatus(name, Level.WARN, f"{message}; lower their rate", values)
    message = f"{counts.published} of {counts.received} messages answered"
    not_needed = counts.dropped[DropReason.NOT_NEEDED]
    return TaskStatus(name, Level.OK, f"{message}, {not_needed} needed none" if not_needed else message, values)
