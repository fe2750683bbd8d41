"""From value types to messages, once for every message implementation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gps_denied_inference import __version__
from gps_denied_inference.core.contracts import DropReason, GlobalDescriptor, LocalFeatures, StageTimings, ThermalState
from gps_denied_inference.core.engines import FidelityReport
from gps_denied_inference.core.interface.factory import MessageFactory
from gps_denied_inference.core.pipeline import ModelIdentity, PipelineResult

__all__ = [
    "drop_counts",
    "features_message",
    "fidelity_fields",
    "model_info_message",
    "thermal_state_message",
]


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
        "dropped_since_last": drop_counts(factory, dropped_since_last),
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


def model_info_message(
    factory: MessageFactory, model: ModelIdentity, *, stamp_ns: int, camera_id: str, requested_runtime: str = ""
) -> Any:
    """Return the `ModelInfo` message of a loaded engine.

    Args:
        stamp_ns: when the engine became ready, ns.
        requested_runtime: of the settings; empty: that of the model.
    """
    spec, configuration = model.spec, model.configuration
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
        requested_runtime=requested_runtime or model.runtime_label.value,
        runtime=model.runtime_label.value,
        requested_precision=configuration.requested_precision.value,
        effective_precision=configuration.effective_precision.value,
        requested_device=configuration.requested_device,
        effective_device=configuration.effective_device,
        requested_provider=configuration.requested_provider or configuration.provider,
        provider=configuration.provider,
        fallback_reason=configuration.fallback_reason,
        is_gated=model.is_gated,
        gate_complaint=model.gate_complaint,
        **fidelity_fields(model.fidelity),
        package_version=__version__,
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


def fidelity_fields(fidelity: FidelityReport | None) -> dict[str, Any]:
    """Return the fields of a fidelity check, in whatever message they stand."""
    return {
        "fidelity_count": 0 if fidelity is None else fidelity.count,
        "fidelity_min_cosine": math.nan if fidelity is None else fidelity.minimum,
        "fidelity_mean_cosine": math.nan if fidelity is None else fidelity.mean,
        "fidelity_repeatability": math.nan if fidelity is None else fidelity.repeatability,
    }


def _timings(factory: MessageFactory, timings: StageTimings) -> Any:
    return factory.make("StageTimings", **timings.as_dict())


def drop_counts(factory: MessageFactory, dropped: Mapping[DropReason, int]) -> list[Any]:
    """Return a `DropCount` message for each reason."""
    return [factory.make("DropCount", reason=reason.value, count=count) for reason, count in dropped.items()]
