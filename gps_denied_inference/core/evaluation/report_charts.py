"""The charts of the report."""

from __future__ import annotations

import base64
import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.evaluation.flight_report import FlightReport
from gps_denied_inference.core.evaluation.svg_chart import Chart
from gps_denied_inference.core.optional import require

__all__ = [
    "ERRORS",
    "LEVEL_COLORS",
    "LEVEL_NAMES",
    "STAGES",
    "error_chart",
    "health_chart",
    "latency_chart",
    "similarity_chart",
    "similarity_color",
    "temperature_chart",
]

STAGES = (
    ("wait_ms", "wait in the mailbox", "#94a3b8"),
    ("decode_ms", "decode", "#38bdf8"),
    ("preprocess_ms", "preprocess", "#818cf8"),
    ("infer_ms", "infer", "#2563eb"),
    ("postprocess_ms", "postprocess", "#f59e0b"),
    ("outside_ms", "transport, publish, wake-ups", "#d6d3d1"),
)
"""Field of StageTimings (the last is what they leave of the whole), name for people, colour."""

LEVEL_NAMES = ("OK", "WARN", "ERROR")
LEVEL_COLORS = ("#16a34a", "#f59e0b", "#dc2626")
_GOOD, _BAD, _INK = "#15803d", "#dc2626", "#57534e"
_REFINED = "#0284c7"
_TIME = "time of flight, s"

ERRORS = (("", "best tile", _GOOD), ("", "best tile, not recalled", _BAD), ("", "refined", _REFINED))


def error_chart(report: FlightReport) -> str:
    """Error of the best tile, and of the refined position, over time, with the bound."""
    end_s = _end_s(report)
    highest = max([2 * report.score.within_m, *(min(frame.error_m, 150.0) for frame in report.frames)])
    chart = Chart(
        "error",
        "Distance of the retrieved and of the refined position of each frame from the truth over time",
        x_range=(0, end_s),
        y_range=(0, highest * 1.05),
        x_label=_TIME,
        y_label="error, m",
        width=480,
        height=240,
    )
    chart.rule(report.score.within_m, f"half a tile's side, {report.score.within_m:.1f} m", _INK)
    for is_recalled, color in ((True, _GOOD), (False, _BAD)):
        chosen = [frame for frame in report.frames if frame.is_recalled is is_recalled]
        chart.points(
            [frame.time_s for frame in chosen],
            # The rare far miss would flatten the rest: it sits at the upper edge, its title tells the truth.
            [min(frame.error_m, highest) for frame in chosen],
            color,
            [f"t = {frame.time_s:.1f} s, {frame.error_m:.1f} m, cosine {frame.similarity:.3f}" for frame in chosen],
        )
    refined = [(frame.time_s, frame.refined_error_m) for frame in report.frames if frame.refined_error_m is not None]
    chart.points(
        [time_s for time_s, _ in refined],
        [min(error_m, highest) for _, error_m in refined],
        _REFINED,
        [f"t = {time_s:.1f} s, refined {error_m:.1f} m" for time_s, error_m in refined],
    )
    return chart.svg()


def latency_chart(report: FlightReport) -> str:
    """Stages of each frame over time, stacked."""
    times = [frame.time_s for frame in report.frames]
    stages = _stages_ms(report)
    total = stages.sum(axis=0)
    chart = Chart(
        "latency",
        "Where the time of each frame went, stacked by stage, over time",
        x_range=(0, _end_s(report)),
        # The 99th percentile fills three quarters: one late frame must not flatten the others.
        y_range=(0, max(1.0, float(np.percentile(total, 99)) * 1.3) if total.size else 1.0),
        x_label=_TIME,
        y_label="latency, ms",
        width=1200,
        height=330,
    )
    lower = np.zeros(len(times))
    for (_, _, color), stage in zip(STAGES, stages, strict=True):
        upper = lower + stage
        chart.area(times, list(lower), list(upper), color)
        lower = upper
    return chart.svg()


def _stages_ms(report: FlightReport) -> NDArray[np.float64]:
    """Shape (len(STAGES), frames)."""
    rows = []
    for frame in report.frames:
        timings = frame.timings.as_dict()
        inside = [timings[name] for name, _, _ in STAGES[:-1]]
        rows.append([*inside, max(0.0, frame.latency_ms - sum(inside))])
    return np.array(rows, np.float64).reshape(-1, len(STAGES)).T


def temperature_chart(report: FlightReport) -> str:
    """Temperatures over time; empty where no sensor was read."""
    samples = [sample for sample in report.thermal if sample.state.is_telemetry_available]
    series = [
        ([sample.state.cpu_temperature_c for sample in samples], "#ea580c"),
        ([sample.state.gpu_temperature_c for sample in samples], "#7c3aed"),
    ]
    known = [value for values, _ in series for value in values if math.isfinite(value)]
    if not known:
        return ""
    chart = Chart(
        "temperature",
        "Temperatures of processor and GPU over time",
        x_range=(min(sample.time_s for sample in samples), max(sample.time_s for sample in samples) + 0.1),
        y_range=(min(known) - 5, max(known) + 5),
        x_label=_TIME,
        y_label="temperature, °C",
    )
    for values, color in series:
        chart.line([sample.time_s for sample in samples], values, color, 2)
    return chart.svg()


def health_chart(report: FlightReport) -> str:
    """Level of each health report over time."""
    health = report.health
    if not health:
        return ""
    ends = [*(later.time_s for later in health[1:]), health[-1].time_s + 1.0]
    chart = Chart(
        "health",
        "Health level that the node reported over time",
        x_range=(min(health[0].time_s, 0.0), ends[-1]),
        y_range=(0, 1),
        x_label="time since the first descriptor, s",
        y_label="",
        height=110,
        has_y_ticks=False,
    )
    for sample, end_s in zip(health, ends, strict=True):
        title = f"{LEVEL_NAMES[sample.level]} ({sample.lifecycle_state}) at {sample.time_s:.1f} s: {sample.message}"
        chart.rectangle((sample.time_s, end_s), (0.12, 0.88), LEVEL_COLORS[sample.level], title)
    return chart.svg()


def similarity_chart(report: FlightReport) -> str:
    """Cosines between all pairs of descriptors: bright off the diagonal where the flight crosses its own track."""
    cv2 = require("cv2", install="pip install 'opencv-python-headless<5'", purpose="the report's pictures")
    low, high = _similarity_range(report)
    scaled = np.clip((report.similarity - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8)
    _, encoded = cv2.imencode(".png", cv2.applyColorMap(np.flipud(scaled), cv2.COLORMAP_VIRIDIS))
    times = [frame.time_s for frame in report.frames]
    chart = Chart(
        "similarity",
        "Cosine similarity between the descriptors of all pairs of frames",
        x_range=(times[0], times[-1] + 1e-3),
        y_range=(times[0], times[-1] + 1e-3),
        x_label=_TIME,
        y_label=_TIME,
        width=460,
        height=440,
    )
    chart.picture(f"data:image/png;base64,{base64.b64encode(bytes(encoded)).decode()}")
    return chart.svg()


def similarity_color(report: FlightReport) -> tuple[float, float]:
    """Return the cosines of the darkest and the brightest colour."""
    return _similarity_range(report)


def _similarity_range(report: FlightReport) -> tuple[float, float]:
    return float(np.percentile(report.similarity, 1)), 1.0


def _end_s(report: FlightReport) -> float:
    times = [frame.time_s for frame in report.frames]
    step = min((later - earlier for earlier, later in pairwise(times)), default=1.0)
    return (times[-1] if times else 0.0) + step
