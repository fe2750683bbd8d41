"""Diagnostic task `input`: do images arrive, and are they what we expect?"""

from __future__ import annotations

from dataclasses import dataclass

from gps_denied_inference.core.health.input_monitor import InputAnomaly, InputPace
from gps_denied_inference.core.health.status import Level, TaskStatus

__all__ = ["InputLimits", "InputReading", "input_status"]

_REMEDIES = {
    InputAnomaly.STAMP_IN_FUTURE: "stamps lie in the future; synchronise the camera's clock with this computer's",
    InputAnomaly.STAMP_BACKWARD: "stamps go backwards; check the camera's clock, and that no other camera sends here",
    InputAnomaly.SIZE_CHANGED: "the image size changes; fix the camera's mode, check for a second sender",
    InputAnomaly.ENCODING_CHANGED: "the encoding changes; fix the camera's mode, check for a second sender",
}

_TRANSPORT_REMEDY = (
    "load config/fast_dds_large_images.xml in the camera driver's process (FASTRTPS_DEFAULT_PROFILES_FILE), or set "
    "input_reliability to reliable"
)

_MISSING_PER_RECEIVED = 0.1
"""A lost image now and then is no sign of a transport that is too small: of 90 images of 1080p it let through 18."""


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
        is_incompatible_since_last: it came after the last image: a camera that was restarted with another QoS.
        publisher_count: publishers matched on the topic.
        pace: rate, jitter and anomalies of the last seconds.
        is_larger_than_transport: the images don't fit the default shared memory of the middleware, and what is lost is
            not sent again.
        can_lose_large_images: images that don't fit it would not be sent again; how large they are is not known while
            none comes.
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
    pace: InputPace
    is_larger_than_transport: bool = False
    is_incompatible_since_last: bool = False
    can_lose_large_images: bool = False


@dataclass(frozen=True, slots=True)
class InputLimits:
    """When the input is worth a word.

    Attributes:
        timeout_s: an active node without an image for this long is WARN.
        min_rate_hz: fewer images a second are WARN; 0: any rate is good.
        max_jitter_ms: more jitter is WARN; 0: any jitter is good.
    """

    timeout_s: float
    min_rate_hz: float = 0.0
    max_jitter_ms: float = 0.0


def input_status(reading: InputReading, is_active: bool, limits: InputLimits) -> TaskStatus:
    """Judge the input.

    Args:
        reading: what the reception knows.
        is_active: the node is active, so images are expected.
        limits: when to warn.

    Returns:
        ERROR for a QoS that keeps a publisher away, while no image gets through. WARN for missing, slow or jittering
        images, and for some seconds after a size, an encoding or a stamp that a camera should not send. Else OK.
    """
    pace = reading.pace
    values = {
        "topic": reading.topic,
        "publishers": str(reading.publisher_count),
        "received": str(reading.received),
        "rate_hz": f"{pace.rate_hz:.2f}",
        "jitter_ms": f"{pace.jitter_ms:.2f}",
        "missing_by_stamps": str(pace.missing),
        "seconds_since_last": "never" if reading.seconds_since_last is None else f"{reading.seconds_since_last:.2f}",
        "stamp_age_ms": "unknown" if reading.stamp_age_ms is None else f"{reading.stamp_age_ms:.1f}",
        "encoding": reading.encoding,
        "size": reading.size,
        **{anomaly.value: str(count) for anomaly, count in pace.total.items()},
        "time_jumps_backward": str(reading.time_jumps),
        "qos_incompatibility": reading.qos_incompatibility,
    }

    def warn(message: str) -> TaskStatus:
        return TaskStatus("input", Level.WARN, message, values)

    is_silent = reading.seconds_since_last is None or reading.seconds_since_last > limits.timeout_s
    if reading.qos_incompatibility and (reading.received == 0 or (is_silent and reading.is_incompatible_since_last)):
        message = f"a publisher of {reading.topic} offers another QoS: {reading.qos_incompatibility}"
        return TaskStatus("input", Level.ERROR, f"{message}; set input_reliability to match it", values)
    if is_active and reading.seconds_since_last is None:
        message = f"waiting for the first image on {reading.topic} ({reading.publisher_count} publishers)"
        return warn(f"{message}; check the camera and the topic's name{_transport_hint(reading)}")
    if is_active and reading.seconds_since_last is not None and reading.seconds_since_last > limits.timeout_s:
        message = f"no image on {reading.topic} for {reading.seconds_since_last:.1f} s; check the camera"
        return warn(f"{message}{_transport_hint(reading)}")
    odd = [(pace.recent[anomaly], sentence) for anomaly, sentence in _REMEDIES.items() if pace.recent[anomaly]]
    if odd:
        return warn("; ".join(f"{count} of the last images: {sentence}" for count, sentence in odd))
    if is_active and reading.is_larger_than_transport and pace.missing > _MISSING_PER_RECEIVED * pace.received:
        return warn(
            f"{pace.missing} images are missing between the stamps of the last {pace.received}: they don't fit the "
            f"default shared memory of Fast DDS; {_TRANSPORT_REMEDY}"
        )
    if is_active and pace.rate_hz < limits.min_rate_hz:
        return warn(
            f"{pace.rate_hz:.1f} images a second, fewer than input_min_rate_hz = {limits.min_rate_hz:g}; check the "
            "camera and its connection"
        )
    if is_active and 0.0 < limits.max_jitter_ms < pace.jitter_ms:
        return warn(
            f"images come with {pace.jitter_ms:.1f} ms of jitter, more than input_max_jitter_ms = "
            f"{limits.max_jitter_ms:g}; check the camera's trigger and the load of its computer"
        )
    return TaskStatus("input", Level.OK, f"{reading.received} images received", values)


def _transport_hint(reading: InputReading) -> str:
    """What keeps every image away where a camera sends: of 90 images of 4K the default transport let through 1."""
    if not reading.can_lose_large_images or not reading.publisher_count:
        return ""
    return f"; if it sends images of more than 512 KiB, {_TRANSPORT_REMEDY}"
