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
    """Fly one closed Lissajous figure at constant ground speed.

    The nose follows the track, so every heading occurs; the height swings by 12 %, pitch and roll by 2 degrees.

    Args:
        span_m: (x_min, x_max, y_min, y_max) that the track touches, map frame.
        frames: number of poses.
        rate_hz: poses per second.
        height_m: mean height above the ground.
        start_ns: stamp of the first pose.
    """
    x_min, x_max, y_min, y_max = span_m
    phase = np.linspace(0.0, 2 * math.pi, 4001)
    x = (x_min + x_max) / 2 + (x_max - x_min) / 2 * np.sin(2 * phase + 0.4)
    y = (y_min + y_max) / 2 + (y_max - y_min) / 2 * np.cos(3 * phase)
    along = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    at = np.interp(np.arange(frames) * along[-1] / frames, along, phase)
    heading = np.degrees(
        np.arctan2(
            (x_max - x_min) * np.cos(2 * at + 0.4),
            -(y_max - y_min) / 2 * 3 * np.sin(3 * at),
        )
    )
    time_s = np.arange(frames) / rate_hz
    return [
        CameraPose(
            stamp_ns=start_ns + round(index * 1e9 / rate_hz),
            x_m=float(np.interp(at[index], phase, x)),
            y_m=float(np.interp(at[index], phase, y)),
            height_m=float(height_m * (1 + 0.12 * math.sin(2 * math.pi * time_s[index] / 9))),
            heading_deg=float(heading[index] % 360.0),
            pitch_deg=float(2 * math.sin(2 * math.pi * time_s[index] / 3.7)),
            roll_deg=float(2 * math.sin(2 * math.pi * time_s[index] / 5.3 + 1)),
        )
        for index in range(frames)
    ]
