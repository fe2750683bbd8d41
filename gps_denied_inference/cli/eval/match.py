"""`gdi eval match`: how well pairs of images are matched."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import Any

from gps_denied_inference.cli.console import note, progress, say, say_json
from gps_denied_inference.cli.eval.match_data import (
    MatchPair,
    pairs_of_frames,
    pairs_of_orthophoto,
    pairs_of_table,
)
from gps_denied_inference.cli.eval.match_rows import (
    MAX_KEYPOINTS,
    MatchRow,
    PairMatcher,
    all_rows,
    open_matcher,
    row_obstacle,
    row_of_name,
)
from gps_denied_inference.cli.eval.networks import Weights, add_network_options, chosen_weights
from gps_denied_inference.cli.eval.results import ResultFile
from gps_denied_inference.cli.eval.tables import match_tables
from gps_denied_inference.core.atomic_files import write_atomically
from gps_denied_inference.core.contracts import LocalFeatures
from gps_denied_inference.core.errors import EvaluationError
from gps_denied_inference.core.evaluation import (
    GroundMotion,
    PairOutcome,
    corner_error_px,
    ground_motion,
    score_matches,
    score_motions,
)
from gps_denied_inference.core.flight import MapPart
from gps_denied_inference.core.matching import verify_homography

__all__ = ["add_action", "run"]

_THRESHOLD_PX = 3.0
_AGREEING_M, _AGREEING_DEG = 5.0, 10.0
"""What GPS without corrections and a compass in flight are good for."""


def add_action(actions: Any) -> None:
    """Add the action."""
    parser = actions.add_parser(
        "match",
        help="pairs of images: inliers, homography error, AUC",
        description="The homography of each pair is fitted with MAGSAC++ (3 px) to at most 1024 keypoints an image, "
        "and compared with the true one by the mean error of the corners.",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--pairs", type=Path, metavar="CSV", help="first, second[, h00 … h22][, condition]")
    source.add_argument(
        "--orthophoto",
        nargs="?",
        const="",
        metavar="FILE",
        help="views of a virtual camera in other light, seasons, headings and heights; without a file over the "
        "orthophoto of the package deepforest",
    )
    source.add_argument("--frames", type=Path, metavar="FOLDER", help="frames of a flight, with GPS and heading")
    parser.add_argument("--meters-per-pixel", type=float, help="of the orthophoto (default: 0.1), or of the frames")
    parser.add_argument("--positions", type=Path, metavar="CSV", help="of the frames (default: positions.csv, or EXIF)")
    parser.add_argument("--width", type=int, default=640, help="frames are made smaller to it, px (default: 640)")
    parser.add_argument("--height", type=float, default=50.0, help="of the virtual camera, m (default: 50)")
    parser.add_argument("--per-condition", type=int, default=4, help="pairs of views (default: 4)")
    parser.add_argument("--part", choices=[part.value for part in MapPart], default="all", help="of the orthophoto")
    parser.add_argument("--seed", type=int, default=1, help="of the views (default: 1)")
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="FEATURES+MATCHER",
        help="e.g. xfeat+mutual_nearest, disk+lightglue_disk, efficient_loftr (default: all whose weights are here)",
    )
    parser.add_argument("--json", action="store_true", help="the figures on stdout, one JSON object")
    add_network_options(parser)
    parser.set_defaults(run_action=run)


def run(options: argparse.Namespace) -> int:
    """Measure what is asked for."""
    pairs, data = _pairs(options)
    rows = [row_of_name(name) for name in options.model] or all_rows()
    results = ResultFile(options.output, "match", data, options.device)
    known: dict[str, LocalFeatures] = {}
    before: tuple[str, Weights] | None = None
    for weights in chosen_weights(options):
        for row in rows:
            obstacle = row_obstacle(row, options)
            if obstacle and (weights is Weights.PUBLISHED or not options.model):
                if weights is Weights.PUBLISHED:
                    note(f"{row.name} is left out: {obstacle}")
                continue
            if results.holds(row.name, weights.value):
                continue
            if before != (row.features, weights):
                known = {}
            before = (row.features, weights)
            with open_matcher(row, weights, options, known) as matcher:
                results.add(row.name, weights.value, _measure(row, weights, matcher, pairs))
    if not results.content["rows"]:
        raise EvaluationError("no weights are installed for any row; see 'gdi weights list', or give --weights random")
    text = match_tables(results.content)
    if options.markdown is not None:
        write_atomically(options.markdown, (text + "\n").encode())
    if options.json:
        say_json(results.content)
    else:
        say(text)
    return 0


def _pairs(options: argparse.Namespace) -> tuple[list[MatchPair], dict[str, Any]]:
    common = {"threshold_px": _THRESHOLD_PX, "max_keypoints": MAX_KEYPOINTS}
    if options.pairs is not None:
        pairs = pairs_of_table(options.pairs)
        digest = hashlib.sha256(options.pairs.read_bytes()).hexdigest()
        return pairs, {"source": "pairs", "name": options.pairs.name, "sha256": digest, "pairs": len(pairs), **common}
    if options.frames is not None:
        pairs = pairs_of_frames(options.frames, options.positions, options.meters_per_pixel, options.width)
        return pairs, {
            "source": "frames",
            "name": options.frames.resolve().name,
            "meters_per_pixel": options.meters_per_pixel,
            "width_px": options.width,
            "within_m": _AGREEING_M,
            "within_deg": _AGREEING_DEG,
            "pairs": len(pairs),
            **common,
        }
    if options.per_condition < 1:
        raise EvaluationError(f"--per-condition is {options.per_condition}; give at least 1")
    pairs, digest = pairs_of_orthophoto(
        Path(options.orthophoto) if options.orthophoto else None,
        options.meters_per_pixel or 0.1,
        height_m=options.height,
        per_condition=options.per_condition,
        part=MapPart(options.part),
        seed=options.seed,
    )
    return pairs, {
        "source": "orthophoto",
        "name": Path(options.orthophoto).name if options.orthophoto else "deepforest",
        "sha256": digest,
        "height_m": options.height,
        "part": options.part,
        "seed": options.seed,
        "pairs": len(pairs),
        **common,
    }


def _measure(row: MatchRow, weights: Weights, matcher: PairMatcher, pairs: list[MatchPair]) -> dict[str, Any]:
    outcomes: list[PairOutcome] = []
    motions: list[GroundMotion | None] = []
    with progress(f"{row.name}, {weights.value} weights", len(pairs)) as show:
        for index, pair in enumerate(pairs):
            outcome, motion = _match(matcher, pair)
            outcomes.append(outcome)
            motions.append(motion)
            show(index + 1)
    scores: dict[str, Any] = {}
    for condition in ("", *dict.fromkeys(pair.condition for pair in pairs)):
        chosen = [index for index, pair in enumerate(pairs) if condition in ("", pair.condition)]
        scores[condition or "all pairs"] = {
            "homography": score_matches([outcomes[index] for index in chosen]),
            "flight": score_motions(
                [motions[index] for index in chosen if pairs[index].flight is not None],
                [flight.motion for index in chosen if (flight := pairs[index].flight) is not None],
                within_m=_AGREEING_M,
                within_deg=_AGREEING_DEG,
            ),
        }
    return {"networks": row.networks, "scores": scores}


def _match(matcher: PairMatcher, pair: MatchPair) -> tuple[PairOutcome, GroundMotion | None]:
    first_px, second_px = matcher.match(pair.first_name, pair.first_rgb, pair.second_name, pair.second_rgb)
    height, width = pair.first_rgb.shape[:2]
    found = verify_homography(first_px, second_px, image_height=height, image_width=width, threshold_px=_THRESHOLD_PX)
    error_px = (
        float("nan")
        if pair.second_from_first is None
        else corner_error_px(found.matrix, pair.second_from_first, image_height=height, image_width=width)
    )
    motion = None
    if pair.flight is not None and found.matrix is not None:
        motion = ground_motion(
            found.matrix,
            meters_per_pixel=pair.flight.meters_per_pixel,
            yaw_deg=pair.flight.yaw_deg,
            image_height=height,
            image_width=width,
        )
    name = f"{pair.first_name}, {pair.second_name}"
    return PairOutcome(name, pair.condition, len(first_px), found.inlier_count, error_px), motion
