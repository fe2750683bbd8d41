"""`gdi index build`: a map's tiles through a network, into one file."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.cli.console import progress, say, say_json, table
from gps_denied_inference.cli.engine_options import add_engine_options, settings_from_options
from gps_denied_inference.cli.index.local_features import build_tile_features
from gps_denied_inference.cli.index.tiled_map import TiledMap
from gps_denied_inference.core.assembly import assemble_pipeline
from gps_denied_inference.core.atomic_files import file_sha256
from gps_denied_inference.core.contracts import GlobalDescriptor, OutputKind
from gps_denied_inference.core.errors import EvaluationError, InferenceError, SettingsError
from gps_denied_inference.core.flight import (
    camera_of_tiles,
    frame_of_tile,
    load_georeferenced_map,
    plan_tiles,
    render_tile,
)
from gps_denied_inference.core.index import PartialIndex, TileIndex, TileIndexDetails, save_tile_index
from gps_denied_inference.core.pipeline import ModelIdentity, Pipeline

__all__ = ["add_actions", "run"]


def add_actions(actions: Any) -> None:
    """Add the action."""
    parser = actions.add_parser(
        "build",
        help="embed the tiles of a map",
        description="Cuts north-up maps (GeoTIFF, or a picture with a world file) into tiles at several headings and "
        "embeds each. Killed, it goes on where it stood when it is called again: what is done lies in FILE.partial.",
    )
    parser.add_argument("map", type=Path, nargs="+", help="all in one coordinate system")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the index")
    parser.add_argument("--side", type=_positive, required=True, metavar="M", help="shorter side of a tile, metres")
    parser.add_argument("--stride", type=_positive, metavar="M", help="between centres; default: a quarter of the side")
    parser.add_argument("--headings", type=_count, default=8, metavar="N", help="at each centre, evenly spaced (8)")
    parser.add_argument("--aspect", type=_positive, default=1.0, help="width by height of the camera's images (1.0)")
    parser.add_argument("--crs", default="", metavar="NAME", help="of maps that name none, as EPSG:32612")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    local = parser.add_argument_group("local features, for re-ranking and matching; written to FILE.local")
    local.add_argument("--local-model", default="", metavar="NAME", help="as xfeat; default: none are written")
    local.add_argument("--local-keypoints", type=_count, default=256, metavar="N", help="of a tile, at most (256)")
    local.add_argument(
        "--local-pixels", type=_count, default=480, metavar="N", help="shorter side of the picture (480)"
    )
    add_engine_options(parser)
    parser.set_defaults(run_action=run)


def run(options: argparse.Namespace) -> int:
    """Build, or go on building."""
    with assemble_pipeline(settings_from_options(options)) as pipeline:
        model = pipeline.model
        if model.spec.output_kind is not OutputKind.GLOBAL_DESCRIPTOR:
            raise SettingsError("primary.model", model.name, "a network with a global descriptor (gdi models)")
        maps = [_tiled(path, options, model) for path in options.map]
        systems = {tiled.ground.crs for tiled in maps}
        if len(systems) > 1:
            raise EvaluationError(
                f"the maps lie in {len(systems)} coordinate systems ({', '.join(sorted(map(repr, systems)))}); bring "
                "them to one: gdalwarp -t_srs EPSG:… MAP OUT"
            )
        total = sum(len(tiled.grid.views) for tiled in maps)
        partial_path = options.out.with_name(options.out.name + ".partial")
        if not options.out.parent.is_dir():
            raise EvaluationError(f"the folder {options.out.parent} does not exist; create it or give another place")
        with PartialIndex(partial_path, _plan(maps, model), model.spec.descriptor_dimension) as partial:
            before = partial.count
            _embed(pipeline, maps, partial, total)
            index = _index(maps, model, options, partial.rows())
            sha256 = save_tile_index(index, options.out)
            local_path, local_sha256 = None, ""
            if options.local_model:
                # What was embedded stays until this is done, too: killed, nothing is made twice.
                local_path = options.out.with_name(options.out.name + ".local")
                local_sha256 = build_tile_features(
                    maps,
                    settings_from_options(options),
                    local_path,
                    model=options.local_model,
                    most_keypoints=options.local_keypoints,
                    shorter_px=options.local_pixels,
                    side_m=options.side,
                    index_sha256=sha256,
                )
            partial.remove()
    if options.json:
        say_json(
            {
                "index": str(options.out),
                "sha256": sha256,
                "space_id": index.space_id,
                "crs": index.details.crs,
                "tiles": total,
                "tiles_from_before": before,
                "positions": {str(tiled.path): tiled.grid.positions for tiled in maps},
                "local_features": None if local_path is None else str(local_path),
                "local_features_sha256": local_sha256 or None,
            }
        )
        return 0
    local_rows = [] if local_path is None else [("local features", str(local_path)), ("their SHA-256", local_sha256)]
    say(
        table(
            [
                ("index", str(options.out)),
                ("tiles", f"{total}" + (f", {before} of them from before" if before else "")),
                ("positions", ", ".join(f"{tiled.grid.positions} in {tiled.path.name}" for tiled in maps)),
                ("coordinates", index.details.crs or "of the map, which names no system"),
                ("space_id", index.space_id),
                ("SHA-256", sha256),
                *local_rows,
            ]
        )
    )
    return 0


def _tiled(path: Path, options: argparse.Namespace, model: ModelIdentity) -> TiledMap:
    ground = load_georeferenced_map(path, options.crs)
    if min(ground.orthophoto.width_m, ground.orthophoto.height_m) <= options.side * math.hypot(options.aspect, 1.0):
        raise EvaluationError(
            f"{path} measures {ground.orthophoto.width_m:.0f} by {ground.orthophoto.height_m:.0f} m; tiles with a side "
            f"of {options.side:g} m do not fit at every heading: give a smaller --side"
        )
    # As many pixels as the network looks at: more would only be blurred away again.
    shorter_px = max(model.spec.preprocess.height, model.spec.preprocess.width)
    camera, height_m = camera_of_tiles(shorter_px, options.aspect, options.side)
    grid = plan_tiles(
        ground.orthophoto,
        camera,
        height_m=height_m,
        stride_m=options.stride or options.side / 4,
        headings=options.headings,
    )
    return TiledMap(path, file_sha256(path), ground, grid)


def _plan(maps: Sequence[TiledMap], model: ModelIdentity) -> dict[str, object]:
    """Everything that a descriptor depends on."""
    return {
        "space_id": model.space_id,
        "runtime": model.runtime_label.value,
        "precision": model.configuration.effective_precision.value,
        "maps": [
            [
                tiled.sha256,
                (tiled.grid.camera.width_px, tiled.grid.camera.height_px, tiled.grid.height_m),
                *((view.x_m, view.y_m, view.heading_deg) for view in tiled.grid.views),
            ]
            for tiled in maps
        ],
    }


def _embed(pipeline: Pipeline, maps: Sequence[TiledMap], partial: PartialIndex, total: int) -> None:
    views = [(tiled, view) for tiled in maps for view in tiled.grid.views]
    with progress(f"embedding {total} tiles", total) as show:
        for tiled, view in views[partial.count :]:
            features = pipeline.process(frame_of_tile(render_tile(tiled.ground.orthophoto, tiled.grid, view))).features
            assert isinstance(features, GlobalDescriptor)
            length = float(np.linalg.norm(features.values))
            if not length > 0:
                raise InferenceError(
                    f"the tile at {view.x_m:.0f}, {view.y_m:.0f} m of {tiled.path.name} has a descriptor of zeros; "
                    "use another network"
                )
            partial.append(features.values)
            show(partial.count)


def _index(
    maps: Sequence[TiledMap], model: ModelIdentity, options: argparse.Namespace, rows: NDArray[np.float32]
) -> TileIndex:
    positions = [
        (tiled.ground.west_m + view.x_m, tiled.ground.south_m + view.y_m) for tiled in maps for view in tiled.grid.views
    ]
    return TileIndex(
        model.space_id,
        rows,
        np.array(positions, np.float64),
        np.array([view.heading_deg for tiled in maps for view in tiled.grid.views], np.float64),
        TileIndexDetails(
            model=model.name,
            weights_sha256=model.weights_sha256,
            crs=maps[0].ground.crs,
            side_m=options.side,
            aspect=options.aspect,
            maps=tuple((tiled.path.name, tiled.sha256) for tiled in maps),
        ),
    )


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and below a million")
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 4096:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to 4096")
    return value
