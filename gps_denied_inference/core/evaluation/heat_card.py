"""The report's section on the heat episode: three charts on one time axis, and what each rung cost and brought."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from gps_denied_inference.core.evaluation.heat_episode import HeatEpisode
from gps_denied_inference.core.evaluation.samples import ThermalSample
from gps_denied_inference.core.evaluation.svg_chart import Chart

__all__ = ["RUNG_COLORS", "heat_card"]

RUNG_COLORS = ("#15803d", "#0891b2", "#2563eb", "#d97706", "#be123c")
"""From the normal rung down; the last one goes for all that follow."""

_THROTTLE = "#fee2e2"
_CPU, _GPU = "#ea580c", "#7c3aed"
_WIDTH = 1200.0
_TIME = "time since the first frame, s"


def heat_card(episode: HeatEpisode) -> str:
    """Return the body of the section, HTML."""
    legend = [(name, color_of(rung)) for rung, (name, _) in enumerate(episode.rungs)]
    heat = [("processor", _CPU), ("GPU", _GPU), ("clocks held down", _THROTTLE)]
    return "".join(
        [
            _legend(heat),
            _temperature_chart(episode),
            _legend(legend),
            _ladder_chart(episode),
            _latency_chart(episode),
            _table(episode),
            f"<p>{escape(_note(episode))}</p>",
        ]
    )


def color_of(rung: int) -> str:
    """Return the colour that stands for a rung."""
    return RUNG_COLORS[min(rung, len(RUNG_COLORS) - 1)]


def _temperature_chart(episode: HeatEpisode) -> str:
    samples = [sample for sample in episode.thermal if sample.state.is_telemetry_available]
    series = [
        ([sample.state.cpu_temperature_c for sample in samples], _CPU),
        ([sample.state.gpu_temperature_c for sample in samples], _GPU),
    ]
    known = [value for values, _ in series for value in values if math.isfinite(value)] or [0.0]
    low, high = min(known) - 5, max(known) + 5
    chart = Chart(
        "heat-temperature",
        "Temperatures of processor and GPU over the episode; shaded while the clocks are held down",
        x_range=_time_range(episode),
        y_range=(low, high),
        x_label="",
        y_label="temperature, °C",
        width=_WIDTH,
        height=190,
    )
    for start_s, end_s, cause in _throttles(samples):
        chart.rectangle((start_s, end_s), (low, high), _THROTTLE, f"throttling: {cause}")
    for values, color in series:
        chart.line([sample.time_s for sample in samples], values, color, 2)
    return chart.svg()


def _throttles(samples: Sequence[ThermalSample]) -> list[tuple[float, float, str]]:
    found: list[tuple[float, float, str]] = []
    for index, sample in enumerate(samples):
        if sample.state.thermal_throttle_active:
            end_s = samples[index + 1].time_s if index + 1 < len(samples) else sample.time_s
            if found and found[-1][1] == sample.time_s:
                found[-1] = (found[-1][0], end_s, sample.state.cause)
            else:
                found.append((sample.time_s, end_s, sample.state.cause))
    return found


def _ladder_chart(episode: HeatEpisode) -> str:
    count = len(episode.rungs)
    chart = Chart(
        "heat-ladder",
        "Rung of the degradation ladder over the episode, the normal work on top",
        x_range=_time_range(episode),
        y_range=(0, count),
        x_label="",
        y_label="rung",
        width=_WIDTH,
        height=130,
        has_y_ticks=False,
    )
    for start_s, end_s, sample in episode.spans():
        name, changes = episode.rungs[sample.rung]
        title = f"{start_s:.1f}–{end_s:.1f} s: rung {sample.rung}, {name} ({changes})"
        title += f": {sample.reason}" if sample.reason else ""
        level = count - sample.rung
        chart.rectangle((start_s, end_s), (level - 0.92, level - 0.08), color_of(sample.rung), title)
    return chart.svg()


def _latency_chart(episode: HeatEpisode) -> str:
    latencies = [frame.latency_ms for frame in episode.frames]
    highest = float(np.percentile(latencies, 98)) * 1.3 if latencies else 1.0
    chart = Chart(
        "heat-latency",
        "Latency of each frame over the episode, coloured by the rung that it was worked on",
        x_range=_time_range(episode),
        y_range=(0, max(1.0, highest)),
        x_label=_TIME,
        y_label="latency, ms",
        width=_WIDTH,
        height=270,
    )
    for start_s, end_s, sample in episode.spans():
        # The last frame lies on the last span's end.
        frames = [frame for frame in episode.frames if start_s <= frame.time_s <= end_s]
        chart.points(
            [frame.time_s for frame in frames],
            [min(frame.latency_ms, highest) for frame in frames],
            color_of(sample.rung),
            [
                f"t = {frame.time_s:.1f} s: {frame.latency_ms:.0f} ms, of it network {frame.infer_ms:.0f} ms; "
                f"{frame.keypoints} keypoints"
                for frame in frames
            ],
        )
    return chart.svg()


def _time_range(episode: HeatEpisode) -> tuple[float, float]:
    return 0.0, max(episode.frames[-1].time_s if episode.frames else 0.0, 1.0)


def _table(episode: HeatEpisode) -> str:
    heading = "".join(
        f'<th class="number">{name}</th>' if index else f"<th>{name}</th>"
        for index, name in enumerate(
            ("rung", "frames/s", "latency p50, ms", "network p50, ms", "keypoints p50", "frames", "seconds")
        )
    )
    rows = []
    for rung, figures in enumerate(episode.figures()):
        values = (
            _number(figures.rate_hz, 1),
            _number(figures.latency_p50_ms, 0),
            _number(figures.infer_p50_ms, 0),
            _number(figures.keypoints_p50, 0),
            str(figures.frames),
            _number(figures.seconds, 1),
        )
        mark = f'<i class="bar" style="display:inline-block;width:12px;background:{color_of(rung)}"></i>'
        cells = "".join(f'<td class="number">{value}</td>' for value in values)
        rows.append(f"<tr><td>{mark} {escape(figures.name)}: {escape(figures.changes)}</td>{cells}</tr>")
    return f"<table><tr>{heading}</tr>{''.join(rows)}</table>"


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def _note(episode: HeatEpisode) -> str:
    accounting = episode.accounting
    dropped = ", ".join(
        f"{count} {reason.replace('_', ' ')}" for reason, count in accounting.frames_dropped.items() if count
    )
    return (
        f"{accounting.frames_in} frames sent, {accounting.frames_published} published, dropped: {dropped or 'none'}, "
        f"{accounting.frames_lost_in_transport} lost in transport."
    )


def _legend(entries: Sequence[tuple[str, str]]) -> str:
    return (
        '<div class="legend">'
        + "".join(f'<span><i style="background:{color}"></i>{escape(name)}</span>' for name, color in entries)
        + "</div>"
    )
