"""Messages ↔ value types, independent of the message implementation."""

from gps_denied_inference.core.interface.engine_health import EngineHealthReport, engine_health_message
from gps_denied_inference.core.interface.factory import MessageFactory
from gps_denied_inference.core.interface.files import interface_files
from gps_denied_inference.core.interface.incoming import (
    compressed_frame_from_message,
    global_descriptor_from_message,
    image_frame_from_message,
    local_features_from_message,
    stage_timings_from_message,
    stamp_ns_from_message,
    thermal_state_from_message,
)
from gps_denied_inference.core.interface.matches import (
    described_frame_from_message,
    feature_matches_message,
    geometry_from_message,
    matches_from_message,
    place_candidates_message,
    place_recognition_from_message,
    points_from_message,
    sent_features_from_message,
)
from gps_denied_inference.core.interface.outgoing import (
    features_message,
    model_info_message,
    thermal_state_message,
)
from gps_denied_inference.core.interface.rosbags_factory import RosbagsMessageFactory
from gps_denied_inference.core.interface.serialized_image import image_frame_from_cdr

__all__ = [
    "EngineHealthReport",
    "MessageFactory",
    "RosbagsMessageFactory",
    "compressed_frame_from_message",
    "described_frame_from_message",
    "engine_health_message",
    "feature_matches_message",
    "features_message",
    "geometry_from_message",
    "global_descriptor_from_message",
    "image_frame_from_cdr",
    "image_frame_from_message",
    "interface_files",
    "local_features_from_message",
    "matches_from_message",
    "model_info_message",
    "place_candidates_message",
    "place_recognition_from_message",
    "points_from_message",
    "sent_features_from_message",
    "stage_timings_from_message",
    "stamp_ns_from_message",
    "thermal_state_from_message",
    "thermal_state_message",
]
