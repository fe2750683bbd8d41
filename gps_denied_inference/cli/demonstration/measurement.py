"""What the recorded bag says about the replay."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import PlaceRecognition, StageTimings
from gps_denied_inference.core.errors import ReplayError
from gps_denied_inference.core.evaluation import HealthSample, ThermalSample
from gps_denied_inference.core.index import tile_of_frame_id
from gps_denied_inference.core.interface import (
    geometry_from_message,
    global_descriptor_from_message,
    place_recognition_from_message,
    stage_timings_from_message,
    stamp_ns_from_message,
    thermal_state_from_message,
)
from gps_denied_inference.core.matching import VerifiedGeometry
from gps_denied_inference.core.replay import BagReader

__all__ = ["RecordedFrame", "RecordedMatch", "Recording", "health_sample", "read_recording"]


@dataclass(frozen=True, slots=True, eq=False)
class RecordedFrame:
    """One descriptor that the node published.

    Attributes:
        stamp_ns: of the image.
        space_id: of the descriptor.
        values: shape (D,).
        timings: of the node's stages.
    """

    stamp_ns: int
    space_id: str
    values: NDArray[np.float32]
    timings: StageTimings


@dataclass(frozen=True, slots=True, eq=False)
class RecordedMatch:
    """Matches of a frame with a tile.

    Attributes:
        index_sha256, tile: which tile.
        geometry: from the frame to the tile's picture.
    """

    index_sha256: str
    tile: int
    geometry: VerifiedGeometry


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """Contents of an output bag.

    Attributes:
        frames: in the order of recording.
        health: times are seconds since the first descriptor was recorded.
        thermal: likewise.
        model_info: the last ModelInfo message.
        places: what was looked up, by stamp.
        matches: with tiles, by stamp.
    """

    frames: list[RecordedFrame]
    health: list[HealthSample]
    thermal: list[ThermalSample]
    model_info: Any
    places: dict[int, PlaceRecognition]
    matches: dict[int, RecordedMatch]


def read_recording(path: Path) -> Recording:
    """Read a bag that a live replay recorded.

    Raises:
        ReplayError: it cannot be read, or lacks a model info or descriptors.
    """
    with BagReader(path) as reader:
        recorded = {
            name: [(ns, reader.decode(cdr, kind)) for ns, kind, cdr in reader.messages(f"/{name}")]
            for name in (
                "global_descriptor",
                "engine_health",
                "thermal_state",
                "model_info",
                "place_candidates",
                "feature_matches",
            )
        }
    descriptors = recorded["global_descriptor"]
    if not descriptors or not recorded["model_info"]:
        raise ReplayError(f"{path} holds {len(descriptors)} descriptors and {len(recorded['model_info'])} model infos")
    start_ns = descriptors[0][0]
    return Recording(
        frames=[
            RecordedFrame(
                stamp_ns_from_message(message),
                str(message.space_id),
                global_descriptor_from_message(message).values,
                stage_timings_from_message(message.timings),
            )
            for _, message in descriptors
        ],
        health=[health_sample((ns - start_ns) / 1e9, message) for ns, message in recorded["engine_health"]],
        thermal=[
            ThermalSample((ns - start_ns) / 1e9, thermal_state_from_message(message))
            for ns, message in recorded["thermal_state"]
        ],
        model_info=recorded["model_info"][-1][1],
        places={
            place.stamp_ns: place
            for place in (place_recognition_from_message(message) for _, message in recorded["place_candidates"])
        },
        matches={
            stamp_ns_from_message(message): RecordedMatch(
                *tile_of_frame_id(str(message.second_header.frame_id)), geometry_from_message(message)
            )
            for _, message in recorded["feature_matches"]
        },
    )


def health_sample(time_s: float, message: Any) -> HealthSample:
    """Read an EngineHealth message."""
    return HealthSample(
        time_s=time_s,
        level=int(message.level),
        lifecycle_state=str(message.lifecycle_state),
        message=str(message.message),
        rate_hz=float(message.rate_hz),
        latency_p95_ms=float(message.latency_p95_ms),
    )
