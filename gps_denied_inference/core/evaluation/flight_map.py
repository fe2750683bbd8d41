"""The map of a flight: orthophoto, true track, retrieved positions."""

from __future__ import annotations

import base64
import math
from html import escape

from gps_denied_inference.core.evaluation.flight_report import FlightReport

__all__ = ["flight_map_svg"]

_WIDTH = 1000.0
_CLOSED_M = 15.0
"""A flight that ends this close to its start gets one marker: two would cover each other."""


def flight_map_svg(report: FlightReport) -> str:
    """Return the map as an inline SVG element, the orthophoto inside."""
    picture = report.map_picture
    scale = _WIDTH / picture.width_m
    height = picture.height_m * scale

    def at(position_m: tuple[float, float]) -> tuple[float, float]:
        return position_m[0] * scale, height - position_m[1] * scale

    parts = [
        f'<svg class="map" viewBox="0 0 {_WIDTH:g} {height:.0f}" role="img" '
        'aria-label="Orthophoto with the true track and the retrieved position of each frame">',
        f'<image href="data:image/jpeg;base64,{base64.b64encode(picture.jpeg).decode()}" width="{_WIDTH:g}" '
        f'height="{height:.0f}" preserveAspectRatio="none"/>',
        # Dimmed, so that the tracks stand out.
        f'<rect width="{_WIDTH:g}" height="{height:.0f}" fill="#0b1a10" fill-opacity="0.28"/>',
    ]
    for frame in report.frames:
        (x1, y1), (x2, y2) = at(frame.true_m), at(frame.retrieved_m)
        color = "#ffd166" if frame.is_recalled else "#ff4d6d"
        parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" '
            f'stroke-opacity="{0.55 if frame.is_recalled else 0.9}" stroke-width="1.3"/>'
        )
    track = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(position) for position in report.true_track_m))
    parts.append(f'<polyline points="{track}" fill="none" stroke="#0b1a10" stroke-opacity="0.65" stroke-width="7"/>')
    parts.append(f'<polyline points="{track}" fill="none" stroke="#ffffff" stroke-width="3.2"/>')
    for index, frame in enumerate(report.frames):
        x, y = at(frame.retrieved_m)
        color = "#ffd166" if frame.is_recalled else "#ff4d6d"
        title = f"frame {index}, t = {frame.time_s:.1f} s: error {frame.error_m:.1f} m, cosine {frame.similarity:.3f}"
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{color}" stroke="#0b1a10" stroke-width="1.2">'
            f"<title>{escape(title)}</title></circle>"
        )
    for index, frame in enumerate(report.frames):
        if frame.refined_m is not None:
            x, y = at(frame.refined_m)
            title = f"frame {index}, refined: error {frame.refined_error_m:.1f} m, {frame.inlier_count} inliers"
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.6" fill="#38bdf8" stroke="#0b1a10" stroke-width="1">'
                f"<title>{escape(title)}</title></circle>"
            )
    if report.true_track_m:
        first, last = report.true_track_m[0], report.true_track_m[-1]
        is_closed = math.dist(first, last) < _CLOSED_M
        parts.append(_marker(*at(first), "start and end" if is_closed else "start"))
        if not is_closed:
            parts.append(_marker(*at(last), "end"))
    parts += [_scale_bar(scale, height), _north_arrow(), "</svg>"]
    return "".join(parts)


def _marker(x: float, y: float, text: str) -> str:
    # The text beside a point near the right border goes to its left.
    side, anchor = (-16, "end") if x > _WIDTH - 190 else (16, "start")
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="9" fill="#2f6fed" stroke="#fff" stroke-width="3"/>'
        f'<text class="on-map" x="{x + side:.1f}" y="{y + 7:.1f}" text-anchor="{anchor}">{text}</text>'
    )


def _scale_bar(scale: float, height: float) -> str:
    length = 50 * scale
    x, y = 30.0, height - 30
    return (
        f'<rect x="{x}" y="{y - 7}" width="{length:.1f}" height="7" fill="#fff" stroke="#0b1a10" stroke-width="1"/>'
        f'<text class="on-map" x="{x + length / 2:.1f}" y="{y - 15}" text-anchor="middle">50 m</text>'
    )


def _north_arrow() -> str:
    x = _WIDTH - 40
    return (
        f'<path d="M{x} 22L{x + 13} 62L{x} 52L{x - 13} 62Z" fill="#fff" stroke="#0b1a10" stroke-width="1.2"/>'
        f'<text class="on-map" x="{x}" y="88" text-anchor="middle">N</text>'
    )
