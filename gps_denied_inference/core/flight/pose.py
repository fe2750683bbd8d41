"""Where the camera is and how it is turned."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["CameraPose"]


@dataclass(frozen=True, slots=True)
class CameraPose:
    """Pose of a nadir camera that is fixed to the airframe: the top of the image points forward.

    Attributes:
        stamp_ns: acquisition time, nanoseconds.
        x_m, y_m: map frame (east, north), metres.
        height_m: above the ground, metres.
        heading_deg: of the nose, clockwise from north, degrees in [0, 360).
        pitch_deg: nose up is positive.
        roll_deg: right wing down is positive.
    """

    stamp_ns: int
    x_m: float
    y_m: float
    height_m: float
    heading_deg: float
    pitch_deg: float = 0.0
    roll_deg: float = 0.0

    def map_from_optical(self) -> NDArray[np.float64]:
        """Return the rotation (3, 3) from the optical frame (x right, y down, z forward) to the map frame."""
        heading, pitch, roll = (math.radians(a) for a in (self.heading_deg, self.pitch_deg, self.roll_deg))
        forward = np.array([math.sin(heading), math.cos(heading), 0.0])
        right = np.array([math.cos(heading), -math.sin(heading), 0.0])
        level = np.column_stack([right, -forward, np.array([0.0, 0.0, -1.0])])
        # The camera looks down: with the nose up it looks ahead (about the optical x axis, which points right), with
        # the right wing down it looks left (about the optical y axis, which points backward).
        about_x = np.array(
            [[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]], np.float64
        )
        about_y = np.array(
            [[math.cos(roll), 0, -math.sin(roll)], [0, 1, 0], [math.sin(roll), 0, math.cos(roll)]], np.float64
        )
        return level @ about_x @ about_y

    def orientation_xyzw(self) -> tuple[float, float, float, float]:
        """Return the quaternion of the airframe (x forward, y left, z up) in the map frame (REP 103)."""
        optical = self.map_from_optical()
        body = np.column_stack([-optical[:, 1], -optical[:, 0], -optical[:, 2]])
        # Largest component first (Shepperd 1978), so that no division is by a small number.
        squares = np.array(
            [
                1 + body[0, 0] - body[1, 1] - body[2, 2],
                1 - body[0, 0] + body[1, 1] - body[2, 2],
                1 - body[0, 0] - body[1, 1] + body[2, 2],
                1 + body[0, 0] + body[1, 1] + body[2, 2],
            ]
        )
        columns = np.array(
            [
                [squares[0], body[0, 1] + body[1, 0], body[0, 2] + body[2, 0], body[2, 1] - body[1, 2]],
                [body[0, 1] + body[1, 0], squares[1], body[1, 2] + body[2, 1], body[0, 2] - body[2, 0]],
                [body[0, 2] + body[2, 0], body[1, 2] + body[2, 1], squares[2], body[1, 0] - body[0, 1]],
                [body[2, 1] - body[1, 2], body[0, 2] - body[2, 0], body[1, 0] - body[0, 1], squares[3]],
            ]
        )
        largest = int(np.argmax(squares))
        quaternion = columns[largest] / (2.0 * math.sqrt(squares[largest]))
        x, y, z, w = (float(value) for value in quaternion)
        return x, y, z, w
