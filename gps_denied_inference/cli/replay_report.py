"""The JSON reports of `gdi replay`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gps_denied_inference.cli.console import json_text
from gps_denied_inference.core.errors import ReplayError
from gps_denied_inference.core.evaluation import Percentiles, percentiles
from gps_denied_inference.core.pipeline import ModelIdentity
from gps_denied_inference.core.replay import ImageTopic, OfflineReport

if TYPE_CHECKING:
    from gps_denied_inference.ros.live_replay import LiveReplayReport

__all__ = ["live_report", "model_fields", "offline_report", "percentile_fields", "write_json"]


def offline_report(bag: Path, report: OfflineReport) -> dict[str, Any]:
    """Return the report of an offline replay: equal for equal results, but for the latencies."""
    totals = [frame.timings.total_ms for frame in report.frames if frame.timings is not None]
    return {
        "mode": "offline",
        "bag": str(bag),
        "topic": report.topic.name,
        "frames_in_bag": report.topic.count,
        "frames_in": len(report.frames),
        "frames_published": report.published,
        "frames_dropped": {reason.value: count for reason, count in report.dropped.items()},
        "interruption": report.interruption,
        "features_sha256": report.sha256,
        **model_fields(report.model),
        "latency_ms": percentile_fields(percentiles(totals)),
        "frames": [
            {
                "index": frame.index,
                "recorded_ns": frame.recorded_ns,
                "stamp_ns": frame.stamp_ns,
                "sha256": frame.sha256,
                "drop_reason": frame.drop_reason.value if frame.drop_reason is not None else None,
                "error": frame.error,
                "timings_ms": frame.timings.as_dict() if frame.timings is not None else None,
            }
            for frame in report.frames
        ],
    }


def live_report(bag: Path, topic: ImageTopic, report: LiveReplayReport) -> dict[str, Any]:
    """Return the report of a live replay. Counts are the node's own; null where it was not heard."""
    counts = report.counts
    return {
        "mode": "live",
        "bag": str(bag),
        "topic": topic.name,
        "published_on": report.image_topic,
        "frames_in": len(report.sent),
        "frames_received": counts.received if counts else None,
        "frames_published": counts.published if counts else None,
        "frames_dropped": {reason.value: count for reason, count in counts.dropped.items()} if counts else {},
        "frames_pending": counts.pending if counts else None,
        "frames_lost_in_transport": len(report.sent) - counts.received if counts else None,
        "messages_recorded": len(report.received),
        "interruption": report.interruption,
        "latency_definition": "image handed to DDS by the player → features received by the recorder, same process",
        "latency_ms": percentile_fields(percentiles(report.latencies_ms())),
    }


def model_fields(model: ModelIdentity) -> dict[str, Any]:
    """Return what ran, as reports name it."""
    configuration = model.configuration
    return {
        "model": model.name,
        "weights_sha256": model.weights_sha256,
        "space_id": model.space_id,
        "runtime": model.runtime_label.value,
        "precision": configuration.effective_precision.value,
        "device": configuration.effective_device,
        "provider": configuration.provider,
        "fallback_reason": configuration.fallback_reason,
        "is_gated": model.is_gated,
    }


def percentile_fields(values: Percentiles) -> dict[str, float]:
    """Return p50, p95 and p99, rounded to a microsecond."""
    return {"p50": round(values.p50, 3), "p95": round(values.p95, 3), "p99": round(values.p99, 3)}


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a report, whole or not at all. NaN becomes null: JSON has none.

    Raises:
        ReplayError: it cannot be written.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_text(json_text(document) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise ReplayError(f"cannot write the report {path}: {error.strerror}") from error
