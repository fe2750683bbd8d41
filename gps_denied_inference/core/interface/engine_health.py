"""State of an engine as a message, for programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from gps_denied_inference.core.contracts import StageTimings
from gps_denied_inference.core.governor import LadderState
from gps_denied_inference.core.health import InputAnomaly, InputReading, MemoryReading
from gps_denied_inference.core.interface.factory import MessageFactory
from gps_denied_inference.core.interface.outgoing import drop_counts, fidelity_fields
from gps_denied_inference.core.pipeline import FrameCounts, LatencySummary, ModelIdentity

__all__ = ["EngineHealthReport", "engine_health_message"]


@dataclass(frozen=True, slots=True)
class EngineHealthReport:
    """What the health message says beside the model's identity.

    Attributes:
        level: 0 OK, 1 WARN, 2 ERROR.
        message: what is wrong and what to do; empty when OK.
        lifecycle_state: unconfigured, inactive, active or finalized.
        counts: of the frames since configure.
        latency: of the published frames in the window.
        last_error: last error met by the worker; empty when there was none.
        ladder: where the node stands on its degradation ladder.
        engine_reloads: since configure, because a call had hung.
        requested_runtime: of the settings; empty: that of the model.
        engine_changes: what became of the last requests to replace the engine, oldest first.
        camera: what the reception knows; None while nothing is subscribed.
        output_qos_incompatibility: of a subscriber to the features that gets none; empty without one.
        memory: of the process; None while it is not known.
    """

    level: int
    message: str
    lifecycle_state: str
    counts: FrameCounts
    latency: LatencySummary
    last_error: str
    ladder: LadderState = field(default_factory=LadderState)
    engine_reloads: int = 0
    requested_runtime: str = ""
    engine_changes: Sequence[str] = ()
    camera: InputReading | None = None
    output_qos_incompatibility: str = ""
    memory: MemoryReading | None = None


def engine_health_message(
    factory: MessageFactory, report: EngineHealthReport, model: ModelIdentity | None, *, stamp_ns: int
) -> Any:
    """Return the `EngineHealth` message; without a model its fields are empty."""
    latency, ladder = report.latency, report.ladder
    return factory.make(
        "EngineHealth",
        header=factory.header(stamp_ns, ""),
        level=report.level,
        message=report.message,
        lifecycle_state=report.lifecycle_state,
        **_engine_fields(report, model),
        engine_changes=list(report.engine_changes),
        received=report.counts.received,
        published=report.counts.published,
        pending=report.counts.pending,
        dropped=drop_counts(factory, report.counts.dropped),
        rate_hz=latency.rate_hz,
        latency_p50_ms=latency.p50_ms,
        latency_p95_ms=latency.p95_ms,
        latency_p99_ms=latency.p99_ms,
        rung=ladder.rung,
        rung_count=ladder.rung_count,
        rung_name=ladder.name,
        rung_reason=ladder.reason,
        rung_steps=ladder.steps,
        last_error=report.last_error,
        engine_reloads=report.engine_reloads,
        latency_max_ms=latency.max_ms,
        stages_p50=_stages(factory, latency, 0, latency.p50_ms),
        stages_p95=_stages(factory, latency, 1, latency.p95_ms),
        stages_p99=_stages(factory, latency, 2, latency.p99_ms),
        stages_max=_stages(factory, latency, 3, latency.max_ms),
        **_input_fields(report),
        output_qos_incompatibility=report.output_qos_incompatibility,
        **_memory_fields(report),
    )


def _engine_fields(report: EngineHealthReport, model: ModelIdentity | None) -> dict[str, Any]:
    if model is None:
        texts = (
            "engine",
            "model",
            "engine_file",
            "engine_sha256",
            "space_id",
            "requested_runtime",
            "runtime",
            "requested_precision",
            "effective_precision",
            "requested_device",
            "effective_device",
            "requested_provider",
            "provider",
            "fallback_reason",
            "gate_complaint",
        )
        return {**dict.fromkeys(texts, ""), "is_gated": False, **fidelity_fields(None)}
    configuration = model.configuration
    return {
        "engine": model.engine,
        "model": model.name,
        "engine_file": model.engine_file,
        "engine_sha256": model.engine_sha256,
        "space_id": model.space_id,
        "requested_runtime": report.requested_runtime or model.runtime_label.value,
        "runtime": model.runtime_label.value,
        "requested_precision": configuration.requested_precision.value,
        "effective_precision": configuration.effective_precision.value,
        "requested_device": configuration.requested_device,
        "effective_device": configuration.effective_device,
        "requested_provider": configuration.requested_provider or configuration.provider,
        "provider": configuration.provider,
        "fallback_reason": configuration.fallback_reason,
        "is_gated": model.is_gated,
        "gate_complaint": model.gate_complaint,
        **fidelity_fields(model.fidelity),
    }


def _input_fields(report: EngineHealthReport) -> dict[str, Any]:
    camera = report.camera
    total = dict.fromkeys(InputAnomaly, 0) if camera is None else camera.pace.total
    since_s = None if camera is None else camera.seconds_since_last
    return {
        "input_rate_hz": math.nan if camera is None else camera.pace.rate_hz,
        "input_jitter_ms": math.nan if camera is None else camera.pace.jitter_ms,
        "input_seconds_since_last": math.nan if since_s is None else since_s,
        "input_encoding": "" if camera is None else camera.encoding,
        "input_size": "" if camera is None else camera.size,
        "input_size_changes": total[InputAnomaly.SIZE_CHANGED],
        "input_encoding_changes": total[InputAnomaly.ENCODING_CHANGED],
        "input_stamps_backward": total[InputAnomaly.STAMP_BACKWARD],
        "input_stamps_in_future": total[InputAnomaly.STAMP_IN_FUTURE],
        "input_qos_incompatibility": "" if camera is None else camera.qos_incompatibility,
    }


def _memory_fields(report: EngineHealthReport) -> dict[str, Any]:
    memory = report.memory
    gpu_used = None if memory is None else memory.gpu_used_bytes
    return {
        "resident_bytes": 0 if memory is None else memory.resident_bytes,
        "gpu_reserved_bytes": 0 if memory is None else memory.gpu_reserved_bytes,
        "gpu_used_bytes": -1 if gpu_used is None else gpu_used,
        "memory_used_share": math.nan if memory is None else memory.used_share,
        "memory_slope_mib_per_h": math.nan if memory is None else memory.slope_mib_per_h,
    }


def _stages(factory: MessageFactory, latency: LatencySummary, index: int, total_ms: float) -> Any:
    nothing = (math.nan,) * 4
    stages = {
        item.name: latency.stages.get(item.name, nothing)[index]
        for item in fields(StageTimings)
        if item.name != "total_ms"
    }
    return factory.make("StageTimings", **stages, total_ms=total_ms)
