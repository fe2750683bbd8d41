"""The report for people: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

import numpy as np

from gps_denied_inference.core.evaluation.flight_map import flight_map_svg
from gps_denied_inference.core.evaluation.flight_report import FlightReport, ImagePair
from gps_denied_inference.core.evaluation.heat_card import heat_card
from gps_denied_inference.core.evaluation.heat_episode import HeatEpisode
from gps_denied_inference.core.evaluation.percentiles import Percentiles
from gps_denied_inference.core.evaluation.refinement_card import refinement_card
from gps_denied_inference.core.evaluation.report_charts import (
    ERRORS,
    LEVEL_COLORS,
    LEVEL_NAMES,
    STAGES,
    error_chart,
    health_chart,
    latency_chart,
    similarity_chart,
    similarity_color,
    temperature_chart,
)
from gps_denied_inference.core.evaluation.report_style import STYLE

__all__ = ["html_report"]


def html_report(report: FlightReport) -> str:
    """Return the document.

    Args:
        report: with at least one published frame.

    Raises:
        RuntimeNotAvailableError: OpenCV, which compresses the pictures, is not installed.
    """
    passed = not report.problems
    facts = report.facts
    lead = (
        f"A virtual nadir camera flew {facts.track_length_m:.0f} m in {facts.duration_s:.0f} s over a real orthophoto, "
        f"through {facts.heading_octants} of the 8 octants of the compass. Its images went to the lifecycle node over "
        f"DDS at {facts.frame_rate_hz:g} Hz, and each descriptor was looked up among {facts.tile_positions} map tiles "
        f"at {facts.tile_headings} headings. The candidates of {report.refinement.reranked_frames} frames were ranked "
        "again by local features, and the frame's position taken from the homography to the best one."
    )
    verdict = "all bounds met" if passed else f"{len(report.problems)} bound(s) missed"
    return "".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Flight report</title><style>{STYLE}</style></head><body><main>",
            f'<header><h1>Flight without GPS</h1><span class="verdict {"passed" if passed else "failed"}">{verdict}'
            "</span></header>",
            f'<p class="lead">{escape(lead)}</p>',
            _problems(report),
            _figures(report),
            '<div class="cards">',
            _card("span7", "Where it was, and where it was found", _map_note(report), flight_map_svg(report)),
            '<div class="span5 column">',
            _card(
                "",
                "Error of the best tile, and refined",
                "A dot is a frame; below the line it is recalled.",
                _legend(ERRORS) + error_chart(report),
            ),
            _card("", "Where every frame went", "", _accounting(report)),
            _card("", "Temperatures", "", _temperatures(report)),
            "</div>",
            _card("span12", "From the best tile to a position", _refinement_note(), refinement_card(report.refinement)),
            _card("span12", "Latency by stage", _latency_note(), _legend(STAGES) + latency_chart(report)),
            _card("span7", "Percentiles", "Milliseconds over all published frames.", _percentile_table(report)),
            _card("span5", "What ran", "", _facts(report)),
            _heat(report.heat),
            _card("span12", "Two runtimes, one network", _agreement_note(report), _agreement(report)),
            _card(
                "span6",
                "Self-similarity of the descriptors",
                "Cosine of every pair of frames. Bright off the diagonal: the flight crosses its own track.",
                similarity_chart(report) + _scale(report),
            ),
            '<div class="span6 column">',
            _card("", "Health", "As the node reported it, once a second.", _health(report)),
            _card("", "How it was measured", "", _method(report)),
            "</div>",
            _card("span12", "Frames and the tiles found for them", "Frame above, tile below.", _pairs(report.pairs)),
            "</div>",
            f"<footer>gps_denied_inference {escape(facts.version)} · {escape(facts.created)} · {escape(facts.machine)}"
            " · orthophoto: NEON airborne RGB, 0.1 m a pixel, from the deepforest package (MIT)</footer>",
            "</main></body></html>\n",
        ]
    )


def _card(span: str, title: str, note: str, body: str) -> str:
    paragraph = f"<p>{escape(note)}</p>" if note else ""
    return f'<section class="card {span}"><h2>{escape(title)}</h2>{paragraph}{body}</section>'


def _problems(report: FlightReport) -> str:
    if not report.problems:
        return ""
    return f'<ul class="problems">{"".join(f"<li>{escape(problem)}</li>" for problem in report.problems)}</ul>'


def _figures(report: FlightReport) -> str:
    facts, accounting, score = report.facts, report.accounting, report.score
    dropped = sum(accounting.frames_dropped.values())
    figures = [
        ("Recall@1", f"{score.recall_at_1:.3f}", "", f"within {score.within_m:.1f} m, trained weights"),
        ("… with random weights", f"{report.random_score.recall_at_1:.3f}", "", "recall@1 of the same network"),
        (
            "Median error, best tile",
            f"{score.median_error_m:.1f}",
            "m",
            f"tiles are {max(facts.tile_stride_m):.1f} m apart",
        ),
        (
            "Median error, refined",
            f"{report.refinement.median_error_m:.1f}",
            "m",
            f"{report.refinement.refined_frames} of {report.refinement.frames} frames",
        ),
        (
            "Frames published",
            str(accounting.frames_published),
            f"of {accounting.frames_in}",
            f"{dropped} dropped, {accounting.frames_lost_in_transport} lost in transport",
        ),
        ("Latency, median", f"{report.latency_ms.p50:.1f}", "ms", f"p95 {report.latency_ms.p95:.1f} ms, DDS both ways"),
        (
            "Not the network",
            f"{report.node_overhead_ms.p50:.1f}",
            "ms",
            f"p95 {report.node_overhead_ms.p95:.1f} ms, latency less infer",
        ),
        ("Cold start", f"{facts.cold_start_s:.1f}", "s", "process start → active"),
    ]
    return (
        '<div class="figures">'
        + "".join(
            f'<div class="figure"><span class="name">{escape(name)}</span><b>{escape(value)} '
            f'<small>{escape(unit)}</small></b><span class="note">{escape(note)}</span></div>'
            for name, value, unit, note in figures
        )
        + "</div>"
    )


def _map_note(report: FlightReport) -> str:
    missed = sum(not frame.is_recalled for frame in report.frames)
    text = (
        "White: the true track. Yellow: the centre of the best tile of each frame, joined to the truth by a line. "
        "Blue: refined by the homography to the best re-ranked tile."
    )
    return text + (f" Red: the {missed} frames that were not recalled." if missed else " No frame was missed.")


def _refinement_note() -> str:
    return (
        "Each frame's candidates were ranked again by mutual nearest neighbours and MAGSAC++ of local features, one "
        "request at a time and always for the newest frame: what the computer has no time for is passed over, and "
        "counted. The frame was then matched with the best tile, and its centre carried to the map by the homography. "
        "The camera pitches and rolls by up to 2° each, which nobody tells the nodes: the middle of its image lies up "
        "to 2.9 m from the point below it."
    )


def _latency_note() -> str:
    return (
        "From handing the image to DDS to receiving its descriptor. The coloured stages are the node's own, from its "
        "messages; grey is what they leave: DDS both ways, publishing and wake-ups."
    )


def _legend(entries: Sequence[tuple[str, str, str]]) -> str:
    return (
        '<div class="legend">'
        + "".join(f'<span><i style="background:{color}"></i>{escape(name)}</span>' for _, name, color in entries)
        + "</div>"
    )


def _accounting(report: FlightReport) -> str:
    accounting = report.accounting
    flow = (
        f'<div class="flow"><span><b>{accounting.frames_in}</b> sent</span><span>→</span>'
        f"<span><b>{accounting.frames_received}</b> received</span><span>→</span>"
        f"<span><b>{accounting.frames_published}</b> published</span><span>→</span>"
        f"<span><b>{accounting.messages_recorded}</b> recorded</span></div>"
    )
    rows = [("lost in transport", accounting.frames_lost_in_transport), *accounting.frames_dropped.items()]
    most = max(1, *(count for _, count in rows))
    body = "".join(
        f'<tr><td style="width:38%">{escape(name.replace("_", " "))}</td>'
        f'<td class="number" style="width:12%">{count}</td><td>{_bar(count / most)}</td></tr>'
        for name, count in rows
    )
    heading = '<tr><th>dropped, by reason</th><th class="number">frames</th><th></th></tr>'
    return f"{flow}<table>{heading}{body}</table>"


def _bar(share: float) -> str:
    return f'<i class="bar" style="width:{100 * share:.0f}%;background:#f59e0b"></i>' if share else ""


def _temperatures(report: FlightReport) -> str:
    chart = temperature_chart(report)
    if chart:
        throttled = sum(sample.state.thermal_throttle_active for sample in report.thermal)
        note = f"{throttled} of {len(report.thermal)} readings say that the clocks are held down."
        legend = _legend([("", "processor", "#ea580c"), ("", "GPU", "#7c3aed")])
        return f"{legend}{chart}<p>{escape(note)}</p>"
    cause = next((sample.state.cause for sample in report.thermal if sample.state.cause), "")
    detail = f"<details><summary>why</summary>{escape(cause)}</details>" if cause else ""
    text = "No telemetry on this machine: temperatures are unknown, and reported as such."
    return f'<div class="nothing">{text}{detail}</div>'


def _percentile_table(report: FlightReport) -> str:
    rows = [
        (name, [frame.timings.as_dict()[field] for frame in report.frames])
        for field, name, _ in STAGES
        if field != "outside_ms"
    ]
    rows.append(("inside the node: reception → result", [frame.timings.total_ms for frame in report.frames]))
    rows.append(("image sent → descriptor received", [frame.latency_ms for frame in report.frames]))
    rows.append(("the latter less infer", [frame.latency_ms - frame.timings.infer_ms for frame in report.frames]))
    heading = '<tr><th></th><th class="number">p50</th><th class="number">p95</th><th class="number">p99</th></tr>'
    body = "".join(
        f"<tr><td>{escape(name)}</td>"
        + "".join(f'<td class="number">{value:.2f}</td>' for value in np.percentile(values, [50, 95, 99]))
        + "</tr>"
        for name, values in rows
    )
    return f"<table>{heading}{body}</table>"


def _facts(report: FlightReport) -> str:
    facts = report.facts
    fallback = facts.fallback_reason or "none"
    gate = "passed" if facts.is_gated else "bare checkpoint (desk use, not for flight)"
    rows = [
        ("model", facts.model),
        ("weights SHA-256", facts.weights_sha256),
        ("descriptor space", facts.space_id),
        ("runtime", f"{facts.runtime} ({facts.provider})"),
        ("precision, device", f"{facts.precision} on {facts.device}"),
        ("fallback", fallback),
        ("engine gate", gate),
    ]
    body = "".join(f"<tr><th>{name}</th><td><code>{escape(text)}</code></td></tr>" for name, text in rows)
    return f"<table>{body}</table>"


def _heat(episode: HeatEpisode | None) -> str:
    if episode is None:
        return ""
    note = (
        f"The flight once more, to a node that runs {episode.model} with a degradation ladder. The temperatures and "
        "the throttling are scripted; the steps on the ladder and what they do to rate, latency and features are real. "
        "Under the pointer: why each step was taken."
    )
    return _card("span12", "A heat episode", note, heat_card(episode))


def _agreement_note(report: FlightReport) -> str:
    agreement = report.agreement
    return (
        f"{agreement.frames} of the frames once more, through both runtimes in one process. The node flew with "
        f"{agreement.flown}; {agreement.baseline} is the baseline that every engine is measured against."
    )


def _agreement(report: FlightReport) -> str:
    agreement = report.agreement
    rows = [
        ("cosine of the two descriptors of a frame, lowest", f"{agreement.cosine_min:.7f}"),
        ("… median", f"{agreement.cosine_median:.7f}"),
        (f"network alone, {agreement.flown}, p50 / p95", _pair_ms(agreement.flown_infer_ms)),
        (f"network alone, {agreement.baseline}, p50 / p95", _pair_ms(agreement.baseline_infer_ms)),
        ("ratio of the medians", f"{agreement.speed_up:.1f} ×"),
    ]
    body = "".join(f'<tr><td>{escape(name)}</td><td class="number">{text}</td></tr>' for name, text in rows)
    return f"<table>{body}</table>"


def _pair_ms(times: Percentiles) -> str:
    return f"{times.p50:.1f} / {times.p95:.1f} ms"


def _scale(report: FlightReport) -> str:
    low, high = similarity_color(report)
    return f'<div class="scale"></div><div class="ends"><span>cosine {low:.2f}</span><span>{high:.2f}</span></div>'


def _health(report: FlightReport) -> str:
    entries = [("", name, color) for name, color in zip(LEVEL_NAMES, LEVEL_COLORS, strict=True)]
    counts: dict[tuple[int, str], int] = {}
    for sample in report.health:
        key = (sample.level, sample.message)
        counts[key] = counts.get(key, 0) + 1
    rows = "".join(
        f'<tr><td style="white-space:nowrap"><i class="bar" style="display:inline-block;width:12px;background:'
        f'{LEVEL_COLORS[level]}"></i> {LEVEL_NAMES[level]}</td><td class="number">{count}×</td>'
        f"<td>{escape(_shortened(message)) or 'no complaint'}</td></tr>"
        for (level, message), count in counts.items()
    )
    return f"{_legend(entries)}{health_chart(report)}<table>{rows}</table>"


def _shortened(text: str, length: int = 260) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def _method(report: FlightReport) -> str:
    facts = report.facts
    rows = [
        ("any heading", f"every tile is embedded at {facts.tile_headings} headings; frames are not derotated"),
        (
            "tiles",
            f"{facts.tile_positions} positions, {facts.tile_stride_m[0]:.1f} × {facts.tile_stride_m[1]:.1f} m apart, "
            f"shorter side {facts.tile_side_m:.1f} m",
        ),
        ("best tile", "the first of place_candidates, as the node published it"),
        ("recall@1", f"the best tile's centre lies within half that side, {report.score.within_m:.1f} m, of the truth"),
        ("random weights", "the same network untrained, saved as a checkpoint and run through the same pipeline"),
        ("disturbances", facts.disturbances),
        ("latency", "sender and recorder are one process, so one steady clock; the node is another"),
    ]
    return (
        "<table>"
        + "".join(
            f'<tr><th style="white-space:nowrap">{escape(name)}</th><td>{escape(text)}</td></tr>' for name, text in rows
        )
        + "</table>"
    )


def _pairs(pairs: Sequence[ImagePair]) -> str:
    def image(jpeg: bytes, text: str) -> str:
        return f'<img src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" alt="{text}">'

    return (
        '<div class="pairs">'
        + "".join(
            f"<figure>{image(pair.frame_jpeg, 'camera frame')}{image(pair.tile_jpeg, 'best tile')}"
            f"<figcaption>{'✓' if pair.is_recalled else '✗'} {escape(pair.caption)}</figcaption></figure>"
            for pair in pairs
        )
        + "</div>"
    )
