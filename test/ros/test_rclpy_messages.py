"""Messages of rclpy's generated classes, through CDR, there and back."""

from typing import Any

import numpy as np
import pytest
from engine_health_reports import EXPECTED, MODEL, REPORT, plain_fields
from numpy.typing import NDArray
from rclpy.serialization import deserialize_message, serialize_message

import gps_denied_inference.msg as messages
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
from gps_denied_inference.core.engines import FidelityReport
from gps_denied_inference.core.interface import (
    MessageFactory,
    RosbagsMessageFactory,
    engine_health_message,
    features_message,
    global_descriptor_from_message,
    local_features_from_message,
    model_info_message,
    stage_timings_from_message,
    stamp_ns_from_message,
    thermal_state_from_message,
    thermal_state_message,
)
from gps_denied_inference.core.pipeline import ModelIdentity, PipelineResult
from gps_denied_inference.ros.message_factory import RclpyMessageFactory

_STAMP_NS = 1_466_699_519_123_456_789
_TIMINGS = StageTimings(0.5, 1.5, 2.5, 3.5, 4.5, 12.5)


def _model(name: str) -> ModelIdentity:
    configuration = EffectiveConfiguration(PrecisionMode.FP16, PrecisionMode.FP16, "cuda:0", "cuda:0", "torch")
    spec = default_registry().lookup(name).spec
    # Without NaN and exact in 32 bits, so that messages can be compared.
    fidelity = FidelityReport("descriptor cosine", 0.5, 0.75, 0.25, 8)
    return ModelIdentity(
        "primary", name, "cd" * 32, spec, RuntimeLabel.PYTORCH_FP16, configuration, is_gated=True, fidelity=fidelity
    )


def _features() -> LocalFeatures:
    random = np.random.default_rng(0)
    return LocalFeatures(
        keypoints_px=random.uniform(0, 4000, (33, 2)).astype(np.float32),
        scores=random.uniform(0, 1, 33).astype(np.float32),
        descriptors=random.standard_normal((33, 64)).astype(np.float32),
        image_height=3000,
        image_width=4000,
    )


@pytest.mark.parametrize("step", [1, 2], ids=["contiguous", "strided"])
def test_global_descriptor_round_trip_is_exact(step: int) -> None:
    values: NDArray[np.float32] = np.random.default_rng(1).standard_normal(448 * step).astype(np.float32)[::step]
    result = PipelineResult(_STAMP_NS, "camera", GlobalDescriptor(values), _TIMINGS, _model("efficientnet_lite0_grid"))
    drops = {DropReason.STALE: 2}
    sent = features_message(
        RclpyMessageFactory(),
        result,
        camera_id="",
        dropped_since_last=drops,
        is_throttling=True,
    )
    received = deserialize_message(serialize_message(sent), messages.GlobalDescriptor)
    np.testing.assert_array_equal(global_descriptor_from_message(received).values, values)
    assert stamp_ns_from_message(received) == _STAMP_NS
    assert stage_timings_from_message(received.timings) == _TIMINGS
    assert [(drop.reason, drop.count) for drop in received.dropped_since_last] == [("stale", 2)]


def test_local_features_round_trip_is_exact() -> None:
    features = _features()
    result = PipelineResult(_STAMP_NS, "camera", features, _TIMINGS, _model("xfeat"))
    sent = features_message(
        RclpyMessageFactory(),
        result,
        camera_id="nadir",
        dropped_since_last={},
        is_throttling=False,
    )
    back = local_features_from_message(deserialize_message(serialize_message(sent), messages.LocalFeatures))
    np.testing.assert_array_equal(back.keypoints_px, features.keypoints_px)
    np.testing.assert_array_equal(back.scores, features.scores)
    np.testing.assert_array_equal(back.descriptors, features.descriptors)


def test_rclpy_reads_what_was_written_without_ros() -> None:
    without_ros, with_ros = RosbagsMessageFactory(), RclpyMessageFactory()
    result = PipelineResult(_STAMP_NS, "camera", _features(), _TIMINGS, _model("xfeat"))
    state = ThermalState(40.0, 50.0, True, 918.0, 7, True, "power cap", "nvml")

    def build(factory: MessageFactory) -> list[Any]:
        return [
            features_message(factory, result, camera_id="", dropped_since_last={}, is_throttling=False),
            model_info_message(factory, _model("xfeat"), stamp_ns=_STAMP_NS, camera_id="nadir"),
            thermal_state_message(factory, state, stamp_ns=_STAMP_NS),
            engine_health_message(factory, REPORT, MODEL, stamp_ns=_STAMP_NS),
        ]

    for written, expected in zip(build(without_ros), build(with_ros), strict=True):
        content = bytes(without_ros.typestore.serialize_cdr(written, written.__msgtype__))
        assert deserialize_message(content, type(expected)) == expected


def test_every_field_of_the_health_message_carries_its_own_value() -> None:
    sent = engine_health_message(RclpyMessageFactory(), REPORT, MODEL, stamp_ns=_STAMP_NS)
    received = deserialize_message(serialize_message(sent), messages.EngineHealth)
    assert plain_fields(received, list(received.get_fields_and_field_types())) == EXPECTED


def test_thermal_state_round_trip_is_exact() -> None:
    state = ThermalState(40.0, 50.0, True, 918.0, 7, True, "power cap", "nvml")
    sent = thermal_state_message(RclpyMessageFactory(), state, stamp_ns=_STAMP_NS)
    received = deserialize_message(serialize_message(sent), messages.ThermalState)
    assert thermal_state_from_message(received) == state
