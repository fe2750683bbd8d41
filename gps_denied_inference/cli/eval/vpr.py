"""`gdi eval vpr`: how well places are recognised."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.cli.console import note, progress, say, say_json
from gps_denied_inference.cli.eval.networks import (
    Weights,
    add_network_options,
    chosen_weights,
    frame_from_rgb,
    network_settings,
    weights_obstacle,
)
from gps_denied_inference.cli.eval.results import ResultFile
from gps_denied_inference.cli.eval.tables import vpr_tables
from gps_denied_inference.cli.eval.vpr_data import (
    Place,
    PlaceQuery,
    PlaceTile,
    flown_queries,
    map_tiles,
    place_on,
    queries_of_folder,
    query_patch,
    tiles_of_folder,
)
from gps_denied_inference.core.architectures import default_registry
from gps_denied_inference.core.assembly import assemble_pipeline
from gps_denied_inference.core.atomic_files import file_sha256, write_atomically
from gps_denied_inference.core.contracts import GlobalDescriptor, OutputKind
from gps_denied_inference.core.errors import EvaluationError
from gps_denied_inference.core.evaluation import RANKS, score_places
from gps_denied_inference.core.flight import (
    MapPart,
    Orthophoto,
    load_georeferenced_map,
    load_orthophoto,
    locate_orthophoto,
)
from gps_denied_inference.core.index import TileIndex

__all__ = ["THUMBNAIL", "add_action", "run"]

THUMBNAIL = "thumbnail_16x16"
"""A row without a network, to compare with: 16 by 16 gray values, less their mean."""

YAW_ERRORS_DEG = (10.0, 20.0, 45.0, 90.0, 180.0)
SCALE_ERRORS = (0.8, 0.9, 1.1, 1.25)

_Describe = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class _Data:
    """What is measured on."""

    tiles: list[PlaceTile]
    queries: list[PlaceQuery]
    side_m: float
    within_m: float


def add_action(actions: Any) -> None:
    """Add the action."""
    parser = actions.add_parser(
        "vpr",
        help="place recognition: Recall@1/5/10 and error, by error of yaw and scale",
        description="Each query is turned north-up by its heading and cut to a tile's size by its scale, where these "
        "are known; then again with a wrong heading, and with a wrong scale.",
    )
    parser.add_argument(
        "queries", nargs="?", type=Path, help="folder of pictures with positions.csv, or with positions in EXIF"
    )
    parser.add_argument(
        "--positions", type=Path, metavar="CSV", help="of the queries, instead of positions.csv or EXIF"
    )
    parser.add_argument(
        "--fly", type=int, metavar="N", help="take N queries with a virtual camera over the map instead"
    )
    parser.add_argument("--map", type=Path, metavar="FILE", help="GeoTIFF, or picture with a world file")
    parser.add_argument("--map-crs", default="", metavar="EPSG:…", help="coordinate system of a map that names none")
    parser.add_argument(
        "--tiles",
        type=Path,
        metavar="FOLDER",
        help="tiles in place of a map: with positions.csv, ZOOM/X/Y.png, or georeferenced",
    )
    parser.add_argument("--meters-per-pixel", type=float, help="of the queries, where the table does not say")
    parser.add_argument("--fov-deg", type=float, help="horizontal field of view of the queries, with their height")
    parser.add_argument("--tile-m", type=float, help="side of a tile (default: what a query shows at any heading)")
    parser.add_argument("--stride-m", type=float, help="distance of neighbouring tiles (default: a third of a tile)")
    parser.add_argument("--headings", type=int, default=1, help="of each tile (default: 1, north-up)")
    parser.add_argument("--within-m", type=float, help="bound of a recalled query (default: half a tile)")
    parser.add_argument("--height", type=float, default=50.0, help="of the virtual camera, m (default: 50)")
    parser.add_argument("--part", choices=[part.value for part in MapPart], default="all", help="where it flies")
    parser.add_argument("--seed", type=int, default=1, help="of the virtual camera (default: 1)")
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME",
        help=f"a network of global descriptors, or {THUMBNAIL} (default: all whose weights are here)",
    )
    parser.add_argument("--json", action="store_true", help="the figures on stdout, one JSON object")
    add_network_options(parser)
    parser.set_defaults(run_action=run)


def run(options: argparse.Namespace) -> int:
    """Measure what is asked for."""
    for name in ("fly", "headings", "tile_m", "stride_m", "within_m", "meters_per_pixel", "fov_deg", "height"):
        value = getattr(options, name)
        if value is not None and value <= 0:
            raise EvaluationError(f"--{name.replace('_', '-')} is {value:g}; give a number above 0")
    data, description = _data(options)
    results = ResultFile(options.output, "vpr", description, options.device)
    for model in options.model or [THUMBNAIL, *_networks()]:
        if model == THUMBNAIL:
            if not results.holds(model, "none"):
                results.add(model, "none", _measure(_thumbnail, data, model))
            continue
        _require_global(model)
        obstacle = weights_obstacle(model, options)
        for weights in chosen_weights(options):
            if obstacle and (weights is Weights.PUBLISHED or not options.model):
                if weights is Weights.PUBLISHED:
                    note(f"{model} is left out: {obstacle}")
                continue
            if results.holds(model, weights.value):
                continue
            with network_settings(model, weights, options) as settings, assemble_pipeline(settings) as pipeline:

                def describe(image_rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
                    features = pipeline.process(frame_from_rgb(image_rgb)).features
                    assert isinstance(features, GlobalDescriptor)
                    return features.values

                results.add(model, weights.value, _measure(describe, data, f"{model}, {weights.value} weights"))
    if not results.content["rows"]:
        raise EvaluationError("no weights are installed for any row; see 'gdi weights list', or give --weights random")
    text = vpr_tables(results.content)
    if options.markdown is not None:
        write_atomically(options.markdown, (text + "\n").encode())
    if options.json:
        say_json(results.content)
    else:
        say(text)
    return 0


def _networks() -> list[str]:
    registry = default_registry()
    return [name for name in registry if registry.lookup(name).spec.output_kind is OutputKind.GLOBAL_DESCRIPTOR]


def _require_global(model: str) -> None:
    kind = default_registry().lookup(model).spec.output_kind
    if kind is not OutputKind.GLOBAL_DESCRIPTOR:
        raise EvaluationError(
            f"'{model}' gives {kind.value}; place recognition needs a network of global descriptors: "
            + ", ".join(_networks())
        )


def _data(options: argparse.Namespace) -> tuple[_Data, dict[str, Any]]:
    if (options.queries is None) is (options.fly is None):
        raise EvaluationError("give either a folder of queries or --fly N")
    if options.map is not None and options.tiles is not None:
        raise EvaluationError("give either --map or --tiles")
    if options.fly is not None and options.tiles is not None:
        raise EvaluationError("--fly needs a map to fly over; give --map, or neither for the map of deepforest")
    if options.queries is not None and options.map is None and options.tiles is None:
        raise EvaluationError("queries of a folder need a map; give --map FILE or --tiles FOLDER")
    if options.tiles is not None:
        return _data_of_tiles(options)
    orthophoto, place, digest, name = _map(options)
    if options.fly is not None:
        queries = flown_queries(
            orthophoto, count=options.fly, height_m=options.height, part=MapPart(options.part), seed=options.seed
        )
    else:
        assert place is not None
        queries = _queries(options, place)
        unknown = [query for query in queries if query.meters_per_pixel is None]
        if unknown:
            raise EvaluationError(
                f"the scale of {len(unknown)} of {len(queries)} queries is unknown, so they cannot be cut to a tile's "
                "size; add meters_per_pixel to the table, or give --meters-per-pixel, or --fov-deg"
            )
    side_m = options.tile_m or _shown_m(queries)
    stride_m = options.stride_m or side_m / 3
    tiles = list(map_tiles(orthophoto, side_m=side_m, stride_m=stride_m, headings=options.headings))
    if not tiles:
        raise EvaluationError(f"no tile of {side_m:.0f} m fits the surveyed part of the map; give a smaller --tile-m")
    within_m = options.within_m or side_m / 2
    asked = len(queries)
    queries = _answerable(queries, tiles, within_m)
    flown = {"height_m": options.height, "part": options.part, "seed": options.seed} if options.fly is not None else {}
    description = {
        "source": "flight" if options.fly is not None else "folder",
        "map": name,
        "map_sha256": digest,
        "queries": len(queries),
        "queries_left_out": asked - len(queries),
        "tiles": len(tiles),
        "tile_m": side_m,
        "stride_m": stride_m,
        "headings": options.headings,
        "within_m": within_m,
        **flown,
    }
    return _Data(tiles, queries, side_m, within_m), description


def _data_of_tiles(options: argparse.Namespace) -> tuple[_Data, dict[str, Any]]:
    tiles, place, side_m, digest = tiles_of_folder(options.tiles)
    queries = _queries(options, place)
    if side_m is None or any(query.meters_per_pixel is None for query in queries):
        # Nothing says how large a tile or a query is: a query's shorter side is taken as a tile's.
        queries = [replace(query, meters_per_pixel=None) for query in queries]
    within_m = options.within_m or (side_m or 0.0) / 2
    if not within_m:
        raise EvaluationError("the size of the tiles is unknown; give --within-m, how far a recalled tile may lie")
    asked = len(queries)
    queries = _answerable(queries, tiles, within_m)
    description = {
        "source": "tiles",
        "map": options.tiles.resolve().name,
        "map_sha256": digest,
        "queries": len(queries),
        "queries_left_out": asked - len(queries),
        "tiles": len(tiles),
        "tile_m": side_m,
        "within_m": within_m,
    }
    return _Data(tiles, queries, side_m or 1.0, within_m), description


def _map(options: argparse.Namespace) -> tuple[Orthophoto, Place | None, str, str]:
    if options.map is None:
        path = locate_orthophoto()
        return load_orthophoto(path), None, file_sha256(path), "deepforest"
    ground = load_georeferenced_map(options.map, options.map_crs)
    return ground.orthophoto, place_on(ground), file_sha256(options.map), options.map.name


def _queries(options: argparse.Namespace, place: Place) -> list[PlaceQuery]:
    return queries_of_folder(
        options.queries,
        options.positions,
        place,
        meters_per_pixel=options.meters_per_pixel,
        fov_deg=options.fov_deg,
    )


def _answerable(queries: list[PlaceQuery], tiles: list[PlaceTile], within_m: float) -> list[PlaceQuery]:
    """Queries that have a tile within the bound; what the map does not cover cannot be recognised.

    Raises:
        EvaluationError: none has.
    """
    places = np.array([(tile.x_m, tile.y_m) for tile in tiles])
    distances = [float(np.hypot(*(places - (query.x_m, query.y_m)).T).min()) for query in queries]
    kept = [query for query, distance in zip(queries, distances, strict=True) if distance <= within_m]
    if not kept:
        raise EvaluationError(
            f"no query lies within {within_m:.0f} m of a tile, the nearest {min(distances):.0f} m off; check the "
            "positions, the map's coordinate system and the bound"
        )
    return kept


def _shown_m(queries: list[PlaceQuery]) -> float:
    """Side of the largest square that every query shows at any heading, metres."""
    sides = [min(query.load().shape[:2]) * (query.meters_per_pixel or 0.0) for query in queries]
    return float(round(min(sides) / math.sqrt(2.0), 1))


def _measure(describe: _Describe, data: _Data, title: str) -> dict[str, Any]:
    errors: dict[str, tuple[float, float]] = {"none": (0.0, 1.0)}
    errors |= {f"yaw {yaw:g}°": (yaw, 1.0) for yaw in YAW_ERRORS_DEG}
    errors |= {f"scale × {scale:g}": (0.0, scale) for scale in SCALE_ERRORS}
    with progress(title, len(data.tiles) + len(errors) * len(data.queries)) as show:
        descriptors = []
        for number, tile in enumerate(data.tiles):
            descriptors.append(describe(tile.render()))
            show(number + 1)
        index = TileIndex(
            "evaluation",
            np.stack(descriptors),
            np.array([(tile.x_m, tile.y_m) for tile in data.tiles], np.float64),
            np.array([tile.heading_deg for tile in data.tiles], np.float64),
        )
        scores = {}
        done = len(data.tiles)
        for name, (yaw, scale) in errors.items():
            ranked = []
            for number, query in enumerate(data.queries):
                # Every other one to the left, so that no side is favoured.
                signed = -yaw if number % 2 else yaw
                patch = query_patch(query, side_m=data.side_m, yaw_error_deg=signed, scale=scale)
                ranked.append(_distances_m(index, describe(patch), query))
                done += 1
                show(done)
            scores[name] = score_places(np.array(ranked), data.within_m)
    return {"scores": scores}


def _distances_m(index: TileIndex, values: NDArray[np.float32], query: PlaceQuery) -> list[float]:
    """Distances of the best places, best first; one place counts once, at its best heading."""
    distances: dict[tuple[float, float], float] = {}
    for match in index.search(values, index.space_id, len(index)):
        key = (match.x_m, match.y_m)
        if key not in distances:
            distances[key] = float(np.hypot(match.x_m - query.x_m, match.y_m - query.y_m))
        if len(distances) == max(RANKS):
            break
    return list(distances.values())


def _thumbnail(image_rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    height, width = (side // 16 * 16 for side in image_rgb.shape[:2])
    gray = image_rgb[:height, :width].mean(axis=2)
    cells = gray.reshape(16, height // 16, 16, width // 16).mean(axis=(1, 3)).ravel()
    # The added noughts-and-one keep a blank picture away from the zero vector.
    return np.append(cells - cells.mean(), 1e-3).astype(np.float32)
