"""Diagnostic task `input`: do images arrive, and are they what we expect?"""

from __future__ import annotations

from dataclasses import dataclass

from gps_denied_inference.core.health.status import Level, TaskStatus

__all__ = ["InputReading", "input_status"]


@dataclass(frozen=True, slots=True)
class InputReading:
    """What the reception knows.

    Attributes:
        topic: resolved name.
        received: images since configure.
        seconds_since_last: steady clock; None when none has come.
        stamp_age_ms: age of the last image's stamp by the node's clock (simulated time included); None when none came.
        encoding: of the last image.
        size: of the last image as `WIDTHxHEIGHT`; empty for compressed images.
        time_jumps: backward jumps of the node's clock since configure.
        qos_incompatibility: last incompatible-QoS event, in words; empty when there was none.
        publisher_count: publishers matched on the topic.
    """

    topic: str
    received: int
    seconds_since_last: float | None
    stamp_age_ms: float | None
    encoding: str
    size: str
    time_jumps: int
    qos_incompatibility: str
    publisher_count: int


def input_status(reading: InputReading, is_active: bool, timeout_s: float) -> TaskStatus:
    """Judge the input.

    Args:
        reading: what the reception knows.
        is_active: the node is active, so images are expected.
        timeout_s: an active node without an image for this long is WARN.

    Returns:
        ERROR for a QoS that keeps a publisher away, WARN for missing images, else OK.
    """
    values = {
        "topic": reading.topic,
        "publishers": str(reading.publisher_count),
        "received": str(reading.received),
        "seconds_since_last": "never" if reading.seconds_since_last is None else f"{reading.seconds_since_last:.2f}",
        "stamp_age_ms": "unknown" if reading.stamp_age_ms is None else f"{reading.stamp_age_ms:.1f}",
        "encoding": reading.encoding,
        "size": reading.size,
        "time_jumps_backward": str(reading.time_jumps),
        "qos_incompatibility": reading.qos_incompatibility,
    }
    if reading.qos_incompatibility and reading.received == 0:
        message = f"a publisher of {reading.topic} offers another QoS: {reading.qos_incompatibility}"
        return TaskStatus("input", Level.ERROR, f"{message}; set input_reliability to match it", values)
    if is_active and reading.seconds_since_last is None:
        message = f"waiting for the first image on {reading.topic} ({reading.publisher_count} publishers)"
        return TaskStatus("input", Level.WARN, f"{message}; check the camera and the topic's name", values)
    if is_active and reading.seconds_since_last is not None and reading.seconds_since_last > timeout_s:
        message = f"no image on {reading.topic} for {reading.seconds_since_last:.1f} s; check the camera"
        return TaskStatus("input", Level.WARN, message, values)
    return TaskStatus("input", Level.OK, f"{reading.received} images received", values)
