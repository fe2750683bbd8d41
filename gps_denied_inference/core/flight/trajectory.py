"""A curving flight through every heading."""

from __future__ import annotations

import math

import numpy as np

from gps_denied_inference.core.flight.pose import CameraPose

__all__ = ["plan_trajectory"]


def plan_trajectory(
    span_m: tuple[float, float, float, float],
    *,
    frames: int,
    rate_hz: float,
    height_m: float,
    start_ns: int,
) -> list[CameraPose]:
    """Fly one closed rosette of three loops at constant ground speed.

    The nose follows the track, so every heading occurs, each about as often; loops cross, so places are seen again
    under another heading. The height swings by 12 %, pitch and roll by 2 degrees.

    Args:
        span_m: (x_min, x_max, y_min, y_max) that the track touches, map frame.
        frames: number of poses.
        rate_hz: poses per second.
        height_m: mean height above the ground.
        start_ns: stamp of the first pose.
    """
    x_min, x_max, y_min, y_max = span_m
    turn = np.linspace(0.0, 3 * 2 * math.pi, 12001)
    # 0.6: narrower loops would turn within less than 30 m, wider ones lie almost on each other.
    radius = 0.6 + 0.4 * np.cos(2 * turn / 3)
    x = (x_min + x_max) / 2 + (x_max - x_min) / 2 * radius * np.sin(turn)
    y = (y_min + y_max) / 2 + (y_max - y_min) / 2 * radius * np.cos(turn)
    along = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    at = np.interp(np.arange(frames) * along[-1] / frames, along, turn)
    course = np.unwrap(np.arctan2(np.gradient(x), np.gradient(y)))
    heading = np.degrees(np.interp(at, turn, course))
    time_s = np.arange(frames) / rate_hz
    return [
        CameraPose(
            stamp_ns=start_ns + round(index * 1e9 / rate_hz),
            x_m=float(np.interp(at[index], turn, x)),
            y_m=float(np.interp(at[index], turn, y)),
            height_m=float(height_m * (1 + 0.12 * math.sin(2 * math.pi * time_s[index] / 9))),
            heading_deg=float(heading[index] % 360.0),
            pitch_deg=float(2 * math.sin(2 * math.pi * time_s[index] / 3.7)),
            roll_deg=float(2 * math.sin(2 * math.pi * time_s[index] / 5.3 + 1)),
        )
        for index in range(frames)
    ]
