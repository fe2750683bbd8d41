"""A whole flight, frame by frame."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from gps_denied_inference.core.flight.camera import NadirCamera, orthophoto_span_m
from gps_denied_inference.core.flight.disturbance import disturb, disturbance_at
from gps_denied_inference.core.flight.orthophoto import Orthophoto
from gps_denied_inference.core.flight.pose import CameraPose
from gps_denied_inference.core.flight.trajectory import plan_trajectory

__all__ = ["CAMERA_FRAME_ID", "FlightFrame", "FlightPlan", "fly"]

CAMERA_FRAME_ID = "nadir_camera"


@dataclass(frozen=True, slots=True)
class FlightPlan:
    """What is flown.

    Attributes:
        camera: the camera.
        height_m: mean height above the ground, metres.
        frames: number of images.
        rate_hz: images per second.
        start_ns: stamp of the first image; an arbitrary fixed date, so that equal plans give equal bags.
        seed: of blur, noise and compression.
    """

    camera: NadirCamera = field(default_factory=lambda: NadirCamera(640, 480))
    height_m: float = 52.0
    frames: int = 240
    rate_hz: float = 10.0
    start_ns: int = 1_767_225_600_000_000_000
    seed: int = 20260101

    @property
    def duration_s(self) -> float:
        return self.frames / self.rate_hz


@dataclass(frozen=True, slots=True, eq=False)
class FlightFrame:
    """One image of the flight.

    Attributes:
        pose: where it was really taken; its stamp is the image's.
        jpeg: the compressed image.
    """

    pose: CameraPose
    jpeg: bytes


def fly(orthophoto: Orthophoto, plan: FlightPlan) -> Iterator[FlightFrame]:
    """Yield the frames of the flight, in order. Equal plans give equal poses, and equal bytes on one machine."""
    width_m, depth_m = plan.camera.footprint_m(plan.height_m)
    # Half a diagonal at the greatest height, and two degrees of tilt: the camera never sees beyond the orthophoto.
    margin_m = 1.12 * math.hypot(width_m, depth_m) / 2 + math.radians(2.0) * 1.5 * plan.height_m
    poses = plan_trajectory(
        orthophoto_span_m(orthophoto, margin_m),
        frames=plan.frames,
        rate_hz=plan.rate_hz,
        height_m=plan.height_m,
        start_ns=plan.start_ns,
    )
    for index, pose in enumerate(poses):
        generator = np.random.default_rng([plan.seed, index])
        disturbance = disturbance_at(index / plan.rate_hz, generator)
        yield FlightFrame(pose, disturb(plan.camera.render(orthophoto, pose), disturbance, generator))
