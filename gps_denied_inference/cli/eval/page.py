"""`gdi eval page`: the page docs/quality.md."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gps_denied_inference.cli.console import say, say_json
from gps_denied_inference.cli.eval.results import read_results
from gps_denied_inference.cli.eval.tables import match_tables, vpr_tables
from gps_denied_inference.core.architectures import ArchitectureRegistry, default_registry

__all__ = ["add_action", "quality_page", "run"]

_HEAD = """# Quality

Written by `gdi eval page docs/measurements/quality-*.json`; each table names the command that measured it. A command
that is given an existing `--output` goes on with the rows that are missing.

- *published*: the weights that the package named in [models.md](models.md) brings. *random*: the same networks,
  untrained, through the same code: what is left of a figure then, the weights have no part in.
- Every row: FP32, at most 1024 keypoints an image, the homography fitted with MAGSAC++ at 3 px. `mutual_nearest`
  keeps every mutual pair, without a bound on similarity or ratio; matching networks have their authors' thresholds.
- What was chosen on what: the orthophoto is that of the package `deepforest` (NEON, 230 by 247 m, 10 cm a pixel). Its
  *west half* served to write these commands and to choose how high the virtual camera flies. All figures are from the
  *east half*, which was looked at once, for this page; the map to be recognised is the whole. On the real frames
  nothing was chosen by a figure; the side of their tiles is what leaves most frames on the map."""

_REAL = """The frames are of `pierotofy/drone_dataset_brighton_beach`: 18 nadir frames, 40 m above a park, with GPS and
heading in EXIF (BSD-2-Clause). `scripts/georeference_picture.py FRAMES PICTURE FOLDER` gave the survey's orthophoto its
place by the frames' GPS, with residuals of 1.3 m in the median and 2.4 m at most. Six frames lie the other way round
than their heading says; it is corrected by 180°."""

_TITLES = {
    ("vpr", "flight"): "Place recognition over the orthophoto",
    ("vpr", "folder"): "Place recognition with real frames",
    ("vpr", "tiles"): "Place recognition with tiles of a folder",
    ("match", "orthophoto"): "Matching views of the orthophoto",
    ("match", "frames"): "Matching real frames",
    ("match", "pairs"): "Matching pairs",
}


def add_action(actions: Any) -> None:
    """Add the action."""
    parser = actions.add_parser("page", help="write the page docs/quality.md of files that vpr and match wrote")
    parser.add_argument("files", nargs="+", type=Path, help="JSON files")
    parser.add_argument("--json", action="store_true", help="one JSON object that holds the page")
    parser.set_defaults(run_action=run)


def run(options: argparse.Namespace) -> int:
    """Write it to stdout.

    Raises:
        EvaluationError: a file is none of `gdi eval`.
    """
    page = quality_page([read_results(path) for path in options.files], default_registry())
    if options.json:
        say_json({"page": page})
    else:
        say(page)
    return 0


def quality_page(results: Sequence[Mapping[str, Any]], registry: ArchitectureRegistry) -> str:
    """Write the page; equal arguments give equal text.

    Args:
        results: as `read_results` gives them.
        registry: names the networks without published weights.
    """
    parts = [_HEAD]
    order = list(_TITLES)
    for item in sorted(results, key=lambda item: order.index((item["kind"], item["data"]["source"]))):
        data = item["data"]
        parts.append(f"## {_TITLES[item['kind'], data['source']]}")
        parts.append(_description(item))
        parts.append(vpr_tables(item) if item["kind"] == "vpr" else match_tables(item))
    absent = [f"`{name}`" for name in registry if registry.lookup(name).spec.is_verified_by_layout_only]
    parts.append("## Not measured with published weights")
    parts.append(
        "No package brings the published weights of these (rows above that name them are random); with the weights in "
        "a folder, the same commands measure them with `--weights-dir`, and `--accept-license` where asked for: "
        f"{', '.join(absent)}."
    )
    return "\n\n".join(parts)


def _description(item: Mapping[str, Any]) -> str:
    data, rows = item["data"], item["rows"]
    days = sorted({row["measured_at"] for row in rows})
    measured = f"Measured on {' to '.join(dict.fromkeys((days[0], days[-1])))} on {item['machine']}."
    if item["kind"] == "vpr":
        text = _vpr_description(data)
    elif data["source"] == "frames":
        text = (
            "`gdi eval match --frames FRAMES --positions FOLDER/positions.csv --weights both --output FILE`. Pairs of "
            f"neighbours on one line, and on different lines; frames are made {data['width_px']} px wide. "
            "There is no true homography: a pair agrees when the homography puts the second camera within "
            f"{data['within_m']:g} m and {data['within_deg']:g}° of where GPS and heading do. GPS itself, which is not "
            "corrected, is good for 1–2 m of the median error, and trees, which are no plane, for more."
        )
    else:
        text = (
            f"`gdi eval match --orthophoto --part {data.get('part', 'all')} --weights both --output FILE`. "
            f"{data['pairs']} pairs of views of 640 by 480 pixels from {data.get('height_m', 0):g} m (9 cm a pixel): "
            "the first north-up and undisturbed, the second moved by up to a sixth of the view and in dull or bright "
            "light with haze, vignetting, blur and noise; recoloured as in autumn; as in snow; turned; from higher up; "
            "or nearly all at once. Error: mean distance of the four corners from where the true homography puts them; "
            "AUC: area under the curve of the share of pairs over that error."
        )
    if item["kind"] == "vpr" and data["source"] == "folder":
        return "\n\n".join((_REAL, text, measured))
    return "\n\n".join((text, measured))


def _vpr_description(data: Mapping[str, Any]) -> str:
    if data["source"] == "tiles":
        return (
            f"`gdi eval vpr QUERIES --tiles {data['map']}`. {data['queries']} queries, {data['tiles']} tiles. A query "
            f"counts as recalled when a candidate's centre is at most {data['within_m']:g} m from its true place."
        )
    tiles = (
        f"{data['tiles']} tiles of {data['tile_m']:g} m, {data['stride_m']:.1f} m apart, north-up. A query counts as "
        f"recalled when a candidate's centre is at most {data['within_m']:g} m from its true place. Each query is "
        "turned north-up by its heading and cut to a tile's size by its scale; the second table adds an error to the "
        "heading (left and right in turn), or multiplies the scale. `thumbnail_16x16` is no network: 16 by 16 gray "
        "values."
    )
    if data["source"] == "flight":
        return (
            f"`gdi eval vpr --fly {data['queries']} --part {data['part']} --height {data['height_m']:g} --weights both "
            f"--output FILE`. {data['queries']} queries from {data['height_m']:g} m at any heading, in summer, autumn "
            f"and snow in turn, in dull or bright light. {tiles}"
        )
    return (
        "`gdi eval vpr FRAMES --positions FOLDER/positions.csv --map FOLDER/map.tif --tile-m "
        f"{data['tile_m']:g} --weights both --output FILE`. {data['queries']} queries; {data['queries_left_out']} "
        "more frames were taken beyond the surveyed ground and are left out. The map was made of these same frames, "
        f"so that light and season are the same: an easy case, and a small one. {tiles}"
    )
