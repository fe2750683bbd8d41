"""Our messages through rosbags, there and back, without ROS."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gps_denied_inference.core.architectures import default_registry
from gps_denied_inference.core.contracts import (
    DropReason,
    EffectiveConfiguration,
    GlobalDescriptor,
    LocalFeatures,
    PrecisionMode,
    RuntimeLabel,
    StageTimings,
    ThermalState,
)
from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.interface import (
    EngineHealthReport,
    RosbagsMessageFactory,
    engine_health_message,
    features_message,
    global_descriptor_from_message,
    interface_files,
    local_features_from_message,
    model_info_message,
    stage_timings_from_message,
    stamp_ns_from_message,
    thermal_state_from_message,
    thermal_state_message,
)
from gps_denied_inference.core.pipeline import FrameLedger, LatencyWindow, ModelIdentity, PipelineResult

_TIMINGS = StageTimings(0.5, 1.5, 2.5, 3.5, 4.5, 12.5)
_STAMP_NS = 1_466_699_519_123_456_789


@pytest.fixture(scope="module")
def factory() -> RosbagsMessageFactory:
    return RosbagsMessageFactory()


def _model(name: str) -> ModelIdentity:
    configuration = EffectiveConfiguration(PrecisionMode.FP16, PrecisionMode.FP32, "cuda:0", "cpu", "torch", "no GPU")
    spec = default_registry().lookup(name).spec
    return ModelIdentity("primary", name, "ab" * 32, spec, RuntimeLabel.PYTORCH_FP16, configuration, is_gated=False)


def _round_trip(factory: RosbagsMessageFactory, message: Any) -> Any:
    kind = message.__msgtype__
    return factory.typestore.deserialize_cdr(factory.typestore.serialize_cdr(message, kind), kind)


@pytest.mark.parametrize("name", interface_files())
def test_every_field_of_a_message_has_a_comment_of_its_own(name: str) -> None:
    is_commented = False
    for line in interface_files()[name].splitlines():
        is_constant = "=" in line.partition("#")[0]
        if line.strip() and not line.startswith("#") and not is_constant:
            assert is_commented, f"no comment just above '{line}'"
        is_commented = line.startswith("#") and bool(line.strip("# "))


def test_global_descriptor_survives_the_wire(factory: RosbagsMessageFactory) -> None:
    values = np.random.default_rng(0).standard_normal(448).astype(np.float32)
    model = _model("efficientnet_lite0_grid")
    result = PipelineResult(_STAMP_NS, "camera", GlobalDescriptor(values), _TIMINGS, model)
    drops = {DropReason.OVERWRITTEN: 3, DropReason.STALE: 1}
    sent = features_message(factory, result, camera_id="", dropped_since_last=drops, is_throttling=True)
    received = _round_trip(factory, sent)
    np.testing.assert_array_equal(global_descriptor_from_message(received).values, values)
    assert stamp_ns_from_message(received) == _STAMP_NS
    assert received.header.frame_id == received.camera_id == "camera"
    assert (received.model, received.weights_sha256) == ("efficientnet_lite0_grid", "ab" * 32)
    assert (received.runtime, received.effective_precision) == ("pytorch_fp16", "fp32")
    assert received.space_id == model.space_id
    assert (received.dtype, received.dimension) == ("float32", 448)
    assert stage_timings_from_message(received.timings) == _TIMINGS
    assert [(drop.reason, drop.count) for drop in received.dropped_since_last] == [("overwritten", 3), ("stale", 1)]
    assert received.thermal_throttle_active and received.is_valid


def test_local_features_survive_the_wire(factory: RosbagsMessageFactory) -> None:
    random = np.random.default_rng(1)
    features = LocalFeatures(
        keypoints_px=random.uniform(0, 1000, (17, 2)).astype(np.float32),
        scores=np.sort(random.uniform(0, 1, 17).astype(np.float32))[::-1],
        descriptors=random.standard_normal((17, 64)).astype(np.float32),
        image_height=1080,
        image_width=1920,
    )
    result = PipelineResult(_STAMP_NS, "camera", features, _TIMINGS, _model("xfeat"))
    sent = features_message(factory, result, camera_id="nadir", dropped_since_last={}, is_throttling=False)
    received = _round_trip(factory, sent)
    back = local_features_from_message(received)
    np.testing.assert_array_equal(back.keypoints_px, features.keypoints_px)
    np.testing.assert_array_equal(back.scores, features.scores)
    np.testing.assert_array_equal(back.descriptors, features.descriptors)
    assert (back.image_height, back.image_width) == (1080, 1920)
    assert (received.camera_id, received.count, received.dimension) == ("nadir", 17, 64)


def test_no_keypoints_at_all_is_a_valid_message(factory: RosbagsMessageFactory) -> None:
    empty = np.empty((0, 2), np.float32)
    features = LocalFeatures(empty, np.empty(0, np.float32), np.empty((0, 64), np.float32), 10, 20)
    result = PipelineResult(_STAMP_NS, "camera", features, _TIMINGS, _model("xfeat"))
    sent = features_message(factory, result, camera_id="", dropped_since_last={}, is_throttling=False)
    back = local_features_from_message(_round_trip(factory, sent))
    assert (back.count, back.dimension) == (0, 64)


def test_invalid_or_inconsistent_message_is_refused(factory: RosbagsMessageFactory) -> None:
    model = _model("efficientnet_lite0_grid")
    result = PipelineResult(_STAMP_NS, "camera", GlobalDescriptor(np.zeros(448, np.float32)), _TIMINGS, model)
    message = features_message(
        factory,
        result,
        camera_id="",
        dropped_since_last={},
        is_throttling=False,
    )
    with pytest.raises(InferenceError, match="engine failed"):
        global_descriptor_from_message(replace(message, is_valid=False, invalid_reason="engine failed"))
    with pytest.raises(InferenceError, match="448 elements"):
        global_descriptor_from_message(replace(message, dimension=447))


def test_model_info_says_what_was_asked_for_and_what_runs(factory: RosbagsMessageFactory) -> None:
    model = _model("xfeat")
    model = replace(model, configuration=replace(model.configuration, requested_provider="cuda"))
    message = model_info_message(factory, model, stamp_ns=_STAMP_NS, camera_id="nadir", requested_runtime="onnx_trt_ep")
    received = _round_trip(factory, message)
    assert (received.requested_runtime, received.runtime) == ("onnx_trt_ep", "pytorch_fp16")
    assert (received.requested_provider, received.provider) == ("cuda", "torch")
    assert (received.requested_precision, received.effective_precision) == ("fp16", "fp32")
    assert (received.requested_device, received.effective_device) == ("cuda:0", "cpu")
    assert received.fallback_reason == "no GPU"
    assert received.space_id == model.space_id
    assert received.license == model.spec.license
    assert not received.is_gated


def test_thermal_state_survives_the_wire(factory: RosbagsMessageFactory) -> None:
    state = ThermalState(61.5, 70.25, True, 918.0, 42, True, "thermal software slowdown", "nvml")
    received = _round_trip(factory, thermal_state_message(factory, state, stamp_ns=_STAMP_NS))
    assert thermal_state_from_message(received) == state


def test_engine_health_lists_every_drop_reason(factory: RosbagsMessageFactory) -> None:
    ledger = FrameLedger()
    ledger.receive()
    ledger.drop(DropReason.FAILED)
    report = EngineHealthReport(2, "broken", "active", ledger.counts(), LatencyWindow().summary(), "boom")
    received = _round_trip(factory, engine_health_message(factory, report, None, stamp_ns=_STAMP_NS))
    assert {drop.reason: drop.count for drop in received.dropped} == {
        reason.value: int(reason is DropReason.FAILED) for reason in DropReason
    }
    assert (received.received, received.published, received.pending) == (1, 0, 0)
    assert (received.level, received.message, received.last_error) == (2, "broken", "boom")
    assert np.isnan(received.latency_p50_ms)
