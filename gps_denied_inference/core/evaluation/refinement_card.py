"""The report's section on re-ranking and matching: both errors side by side, and what became of every frame."""

from __future__ import annotations

from html import escape

from gps_denied_inference.core.evaluation.refinement import NotRefined, RefinementScore

__all__ = ["refinement_card"]


def refinement_card(score: RefinementScore) -> str:
    """Return the body of the section, HTML."""
    return _flow(score) + _errors(score) + _reasons(score) + _nodes(score)


def _flow(score: RefinementScore) -> str:
    steps = [
        (score.frames, "published"),
        (score.reranked_frames, "with candidates ranked again"),
        (score.refined_frames, "refined"),
    ]
    return (
        '<div class="flow">'
        + "<span>→</span>".join(f"<span><b>{count}</b> {escape(text)}</span>" for count, text in steps)
        + "</div>"
    )


def _errors(score: RefinementScore) -> str:
    rows = [
        ("median error", score.retrieved_median_error_m, score.median_error_m),
        ("nine of ten within", score.retrieved_p90_error_m, score.p90_error_m),
    ]
    heading = (
        f'<tr><th>the {score.refined_frames} refined frames</th><th class="number">centre of the first tile</th>'
        '<th class="number">by the homography</th></tr>'
    )
    body = "".join(
        f'<tr><td>{name}</td><td class="number">{first:.2f} m</td><td class="number"><b>{refined:.2f} m</b></td></tr>'
        for name, first, refined in rows
    )
    changed = (
        f'<tr><td>another tile than the most similar one matched best</td><td class="number"></td>'
        f'<td class="number">{score.changed_frames} frames</td></tr>'
    )
    return f"<table>{heading}{body}{changed}</table>"


def _reasons(score: RefinementScore) -> str:
    rows = [(reason.value, score.not_refined.get(reason, 0)) for reason in NotRefined]
    text = ", ".join(f"{count} {name}" for name, count in rows if count) or "none"
    return f"<p>Not refined: {escape(text)}.</p>"


def _nodes(score: RefinementScore) -> str:
    names = ("sent to it", "lost in transport", "received", "published", "dropped", "pending")
    heading = "<tr><th>node</th>" + "".join(f'<th class="number">{name}</th>' for name in names) + "</tr>"
    body = ""
    for node in score.nodes:
        dropped = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in node.dropped.items()) or "0"
        cells = (node.sent, node.lost_in_transport, node.received, node.published, dropped, node.pending)
        body += f"<tr><td>{escape(node.name)}</td>"
        body += "".join(f'<td class="number">{escape(str(cell))}</td>' for cell in cells) + "</tr>"
    return f"<table>{heading}{body}</table>"
