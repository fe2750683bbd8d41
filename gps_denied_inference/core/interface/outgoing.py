"""From value types to messages, once for every message implementation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from gps_denied_inference import __version__
from gps_denied_inference.core.contracts import DropReason, GlobalDescriptor, LocalFeatures, StageTimings, ThermalState
from gps_denied_inference.core.governor import LadderState
from gps_denied_inference.core.interface.factory import MessageFactory
from gps_denied_inference.core.pipeline import FrameCounts, LatencySummary, ModelIdentity, PipelineResult

__all__ = [
    "EngineHealthReport",
    "engine_health_message",
    "features_message",
    "model_info_message",
    "thermal_state_message",
]


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
        input_rate_hz, input_jitter_ms: of the images that came in the last seconds; NaN where it is not known.
        resident_bytes: of the process.
        gpu_reserved_bytes: of all engines, by the memory budget.
        memory_slope_mib_per_h: growth of the resident memory; NaN while it is not known.
    """

    level: int
    message: str
    lifecycle_state: str
    counts: FrameCounts
    latency: LatencySummary
    last_error: str
    ladder: LadderState = field(default_factory=LadderState)
    engine_reloads: int = 0
    input_rate_hz: float = math.nan
    input_jitter_ms: float = math.nan
    resident_bytes: int = 0
    gpu_reserved_bytes: int = 0
    memory_slope_mib_per_h: float = math.nan


def features_message(
    factory: MessageFactory,
    result: PipelineResult,
    *,
    camera_id: str,
    dropped_since_last: Mapping[DropReason, int],
    is_throttling: bool,
) -> Any:
    """Return the `GlobalDescriptor` or `LocalFeatures` message of a processed frame.

    Args:
        camera_id: empty takes the frame's frame_id.
    """
    model = result.model
    stamps = {
        "header": factory.header(result.stamp_ns, result.frame_id),
        "camera_id": camera_id or result.frame_id,
        "model": model.name,
        "weights_sha256": model.weights_sha256,
        "runtime": model.runtime_label.value,
        "effective_precision": model.configuration.effective_precision.value,
        "space_id": model.space_id,
        "dtype": "float32",
        "timings": _timings(factory, result.timings),
        "dropped_since_last": _drops(factory, dropped_since_last),
        "thermal_throttle_active": is_throttling,
        "is_valid": True,
        "invalid_reason": "",
    }
    features = result.features
    if isinstance(features, GlobalDescriptor):
        return factory.make(
            "GlobalDescriptor", dimension=features.dimension, values=factory.floats(features.values), **stamps
        )
    assert isinstance(features, LocalFeatures)
    return factory.make(
        "LocalFeatures",
        dimension=features.dimension,
        count=features.count,
        image_height=features.image_height,
        image_width=features.image_width,
        keypoints_px=factory.floats(features.keypoints_px),
        scores=factory.floats(features.scores),
        descriptors=factory.floats(features.descriptors),
        **stamps,
    )


def model_info_message(factory: MessageFactory, model: ModelIdentity, *, stamp_ns: int, camera_id: str) -> Any:
    """Return the `ModelInfo` message of a loaded engine."""
    spec, configuration, fidelity = model.spec, model.configuration, model.fidelity
    return factory.make(
        "ModelInfo",
        header=factory.header(stamp_ns, ""),
        camera_id=camera_id,
        engine=model.engine,
        model=model.name,
        weights_sha256=model.weights_sha256,
        engine_file=model.engine_file,
        engine_sha256=model.engine_sha256,
        license=spec.license,
        paper=spec.paper,
        output_kind=spec.output_kind.value,
        space_id=model.space_id,
        dtype="float32",
        dimension=spec.descriptor_dimension,
        max_keypoints=spec.max_keypoints,
        input_height=spec.preprocess.height,
        input_width=spec.preprocess.width,
        resize_mode=spec.preprocess.resize_mode.value,
        preprocess_sha256=spec.preprocess.sha256,
        runtime=model.runtime_label.value,
        requested_precision=configuration.requested_precision.value,
        effective_precision=configuration.effective_precision.value,
        requested_device=configuration.requested_device,
        effective_device=configuration.effective_device,
        provider=configuration.provider,
        fallback_reason=configuration.fallback_reason,
        is_gated=model.is_gated,
        gate_complaint=model.gate_complaint,
        fidelity_count=0 if fidelity is None else fidelity.count,
        fidelity_min_cosine=math.nan if fidelity is None else fidelity.minimum,
        fidelity_mean_cosine=math.nan if fidelity is None else fidelity.mean,
        fidelity_repeatability=math.nan if fidelity is None else fidelity.repeatability,
        package_version=__version__,
    )


def engine_health_message(
    factory: MessageFactory, report: EngineHealthReport, model: ModelIdentity | None, *, stamp_ns: int
) -> Any:
    """Return the `EngineHealth` message; without a model its fields are empty."""
    configuration = model.configuration if model is not None else None
    return factory.make(
        "EngineHealth",
        header=factory.header(stamp_ns, ""),
        level=report.level,
        message=report.message,
        lifecycle_state=report.lifecycle_state,
        engine=model.engine if model is not None else "",
        model=model.name if model is not None else "",
        runtime=model.runtime_label.value if model is not None else "",
        requested_precision=configuration.requested_precision.value if configuration is not None else "",
        effective_precision=configuration.effective_precision.value if configuration is not None else "",
        requested_device=configuration.requested_device if configuration is not None else "",
        effective_device=configuration.effective_device if configuration is not None else "",
        provider=configuration.provider if configuration is not None else "",
        fallback_reason=configuration.fallback_reason if configuration is not None else "",
        is_gated=model.is_gated if model is not None else False,
        received=report.counts.received,
        published=report.counts.published,
        pending=report.counts.pending,
        dropped=_drops(factory, report.counts.dropped),
        rate_hz=report.latency.rate_hz,
        latency_p50_ms=report.latency.p50_ms,
        latency_p95_ms=report.latency.p95_ms,
        latency_p99_ms=report.latency.p99_ms,
        rung=report.ladder.rung,
        rung_count=report.ladder.rung_count,
        rung_name=report.ladder.name,
        rung_reason=report.ladder.reason,
        rung_steps=report.ladder.steps,
        last_error=report.last_error,
        engine_reloads=report.engine_reloads,
        latency_max_ms=report.latency.max_ms,
        stages_p50=_percentile_of_stages(factory, report.latency, 0, report.latency.p50_ms),
        stages_p95=_percentile_of_stages(factory, report.latency, 1, report.latency.p95_ms),
        input_rate_hz=report.input_rate_hz,
        input_jitter_ms=report.input_jitter_ms,
        resident_bytes=report.resident_bytes,
        gpu_reserved_bytes=report.gpu_reserved_bytes,
        memory_slope_mib_per_h=report.memory_slope_mib_per_h,
    )


def thermal_state_message(factory: MessageFactory, state: ThermalState, *, stamp_ns: int) -> Any:
    """Return the `ThermalState` message of a reading."""
    return factory.make(
        "ThermalState",
        header=factory.header(stamp_ns, ""),
        cpu_temperature_c=state.cpu_temperature_c,
        gpu_temperature_c=state.gpu_temperature_c,
        thermal_throttle_active=state.thermal_throttle_active,
        measured_clock_mhz=state.measured_clock_mhz,
        measured_at_ns=state.measured_at_ns,
        is_telemetry_available=state.is_telemetry_available,
        cause=state.cause,
        source=state.source,
    )


def _percentile_of_stages(factory: MessageFactory, latency: LatencySummary, index: int, total_ms: float) -> Any:
    nothing = (math.nan,) * 4
    stages = {
        item.name: latency.stages.get(item.name, nothing)[index]
        for item in fields(StageTimings)
        if item.name != "total_ms"
    }
    return factory.make("StageTimings", **stages, total_ms=total_ms)


def _timings(factory: MessageFactory, timings: StageTimings) -> Any:
    return factory.make("StageTimings", **timings.as_dict())


def _drops(factory: MessageFactory, dropped: Mapping[DropReason, int]) -> list[Any]:
    return [factory.make("DropCount", reason=reason.value, count=count) for reason, count in dropped.items()]
