"""From messages to value types, for any message implementation: rclpy's and rosbags' have the same field names.

No element is touched in Python: arrays come through the buffer protocol.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import (
    CompressedFrame,
    GlobalDescriptor,
    ImageFrame,
    LocalFeatures,
    StageTimings,
    ThermalState,
)
from gps_denied_inference.core.errors import InferenceError

__all__ = [
    "compressed_frame_from_message",
    "global_descriptor_from_message",
    "image_frame_from_message",
    "local_features_from_message",
    "stage_timings_from_message",
    "stamp_ns_from_message",
    "thermal_state_from_message",
]


def stamp_ns_from_message(message: Any) -> int:
    """Return the header's stamp, nanoseconds."""
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def image_frame_from_message(message: Any) -> ImageFrame:
    """View a `sensor_msgs/Image` as a frame. The data is shared with the message, not copied."""
    return ImageFrame(
        stamp_ns=stamp_ns_from_message(message),
        frame_id=str(message.header.frame_id),
        encoding=str(message.encoding),
        height=int(message.height),
        width=int(message.width),
        step=int(message.step),
        is_bigendian=bool(message.is_bigendian),
        data=np.frombuffer(message.data, dtype=np.uint8),
    )


def compressed_frame_from_message(message: Any) -> CompressedFrame:
    """View a `sensor_msgs/CompressedImage` as a frame. The data is shared with the message, not copied."""
    return CompressedFrame(
        stamp_ns=stamp_ns_from_message(message),
        frame_id=str(message.header.frame_id),
        format=str(message.format),
        data=np.frombuffer(message.data, dtype=np.uint8),
    )


def global_descriptor_from_message(message: Any) -> GlobalDescriptor:
    """Return the descriptor of a valid `GlobalDescriptor` message; `values` is a copy, shape (dimension,).

    Raises:
        InferenceError: the message says that it is not valid, or its array has another length than it claims.
    """
    _require_valid(message)
    return GlobalDescriptor(_floats(message.values, (int(message.dimension),), "values"))


def local_features_from_message(message: Any) -> LocalFeatures:
    """Return the features of a valid `LocalFeatures` message; the arrays are copies.

    Raises:
        InferenceError: the message says that it is not valid, or an array has another length than it claims.
    """
    _require_valid(message)
    count, dimension = int(message.count), int(message.dimension)
    return LocalFeatures(
        keypoints_px=_floats(message.keypoints_px, (count, 2), "keypoints_px"),
        scores=_floats(message.scores, (count,), "scores"),
        descriptors=_floats(message.descriptors, (count, dimension), "descriptors"),
        image_height=int(message.image_height),
        image_width=int(message.image_width),
    )


def stage_timings_from_message(message: Any) -> StageTimings:
    """Return the timings of a `StageTimings` message, milliseconds."""
    return StageTimings(
        wait_ms=float(message.wait_ms),
        decode_ms=float(message.decode_ms),
        preprocess_ms=float(message.preprocess_ms),
        infer_ms=float(message.infer_ms),
        postprocess_ms=float(message.postprocess_ms),
        total_ms=float(message.total_ms),
    )


def thermal_state_from_message(message: Any) -> ThermalState:
    """Return the reading of a `ThermalState` message."""
    return ThermalState(
        cpu_temperature_c=float(message.cpu_temperature_c),
        gpu_temperature_c=float(message.gpu_temperature_c),
        thermal_throttle_active=bool(message.thermal_throttle_active),
        measured_clock_mhz=float(message.measured_clock_mhz),
        measured_at_ns=int(message.measured_at_ns),
        is_telemetry_available=bool(message.is_telemetry_available),
        cause=str(message.cause),
        source=str(message.source),
    )


def _require_valid(message: Any) -> None:
    if not message.is_valid:
        raise InferenceError(f"the message of frame '{message.header.frame_id}' is not valid: {message.invalid_reason}")


def _floats(buffer: Any, shape: tuple[int, ...], name: str) -> NDArray[np.float32]:
    values = np.frombuffer(buffer, dtype=np.float32) if len(buffer) else np.empty(0, np.float32)
    if values.size != int(np.prod(shape)):
        raise InferenceError(f"'{name}' has {values.size} elements; the message claims shape {shape}")
    return values.reshape(shape).copy()
