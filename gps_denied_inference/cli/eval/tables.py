"""Figures as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gps_denied_inference.core.evaluation import AUC_THRESHOLDS_PX, RANKS

__all__ = ["match_tables", "vpr_tables"]

_ALL = "all pairs"
_NONE = "–"


def match_tables(results: Mapping[str, Any]) -> str:
    """Write the table of a file of `gdi eval match`; equal files give equal text."""
    rows: Sequence[Mapping[str, Any]] = results["rows"]
    conditions = list(rows[0]["scores"])
    if results["data"]["source"] == "frames":
        parts = [name for name in conditions if name != _ALL]
        header = ["features + matcher", "weights"]
        for name in parts:
            pairs = rows[0]["scores"][name]["flight"]["pairs"]
            header += [f"{name} ({pairs} pairs): agree", "median error, m", "inliers"]
        cells = [
            [
                *_name(row),
                *(
                    text
                    for name in parts
                    for text in (
                        _percent(row["scores"][name]["flight"]["agreeing"]),
                        _number(row["scores"][name]["flight"]["median_error_m"], 1),
                        _number(row["scores"][name]["homography"]["median_inliers"], 0),
                    )
                ),
            ]
            for row in rows
        ]
        return _table(header, cells)
    header = ["features + matcher", "weights", "inliers", "inlier ratio"]
    header += [f"AUC@{threshold:g} px" for threshold in AUC_THRESHOLDS_PX]
    parts = [name for name in conditions if name != _ALL]
    header += ["median error, px", *(f"{name}: AUC@5" for name in parts if len(parts) > 1)]
    cells = []
    for row in rows:
        score = row["scores"][_ALL]["homography"]
        cells.append(
            [
                *_name(row),
                _number(score["median_inliers"], 0),
                _number(score["inlier_ratio"], 2),
                *(_number(area, 2) for area in score["auc"]),
                _number(score["median_error_px"], 1),
                *(_number(row["scores"][name]["homography"]["auc"][1], 2) for name in parts if len(parts) > 1),
            ]
        )
    return _table(header, cells)


def vpr_tables(results: Mapping[str, Any]) -> str:
    """Write the tables of a file of `gdi eval vpr`: the figures, then Recall@1 by what was wrong with the query."""
    rows: Sequence[Mapping[str, Any]] = results["rows"]
    header = ["network", "weights", *(f"Recall@{rank}" for rank in RANKS), "median error, m"]
    cells = []
    for row in rows:
        score = row["scores"]["none"]
        cells.append(
            [*_name(row), *(_percent(value) for value in score["recall"]), _number(score["median_error_m"], 1)]
        )
    errors = list(rows[0]["scores"])
    by_error = [[*_name(row), *(_percent(row["scores"][name]["recall"][0]) for name in errors)] for row in rows]
    return "\n\n".join((_table(header, cells), "Recall@1 by error:", _table(["network", "weights", *errors], by_error)))


def _name(row: Mapping[str, Any]) -> list[str]:
    return [f"`{row['row']}`", str(row["weights"])]


def _number(value: float | None, digits: int) -> str:
    return _NONE if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return _NONE if value is None else f"{100 * value:.0f} %"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
