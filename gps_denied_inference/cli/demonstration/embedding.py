"""What networks make of the map's tiles, and of the flight's frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.cli.demonstration.flight_bag import IMAGE_TOPIC
from gps_denied_inference.cli.demonstration.worker_pool import count_image, run_jobs, slices
from gps_denied_inference.core.architectures import default_registry
from gps_denied_inference.core.assembly import assemble_pipeline
from gps_denied_inference.core.contracts import GlobalDescriptor, ImageFrame, LocalFeatures
from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.flight import TileGrid, load_orthophoto, render_tile
from gps_denied_inference.core.index import TileFeatures, TileIndex, TileIndexDetails
from gps_denied_inference.core.optional import require
from gps_denied_inference.core.pipeline import Pipeline
from gps_denied_inference.core.replay import BagReader
from gps_denied_inference.core.settings import Settings

__all__ = ["DescribedMap", "EmbeddingTask", "NetworkEmbedding", "describe_map", "write_random_checkpoint"]


@dataclass(frozen=True, slots=True)
class EmbeddingTask:
    """What one network of global descriptors embeds.

    Attributes:
        settings: of the network.
        flight_bag: its frames are embedded too; None for tiles only.
    """

    settings: Settings
    flight_bag: Path | None


@dataclass(frozen=True, slots=True, eq=False)
class NetworkEmbedding:
    """What one network made of the map, and of the frames.

    Attributes:
        index: of the tiles, in the order of the grid's views.
        frames: descriptors of the flight's frames by stamp; empty when they were not asked for.
    """

    index: TileIndex
    frames: dict[int, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class DescribedMap:
    """What all networks made of it.

    Attributes:
        embeddings: one a task.
        features: local features of the tiles; they belong to no index yet.
    """

    embeddings: list[NetworkEmbedding]
    features: TileFeatures


@dataclass(frozen=True, slots=True, eq=False)
class _Slice:
    """What became of some of the views."""

    details: tuple[str, str, str]  # space_id, model, SHA-256 of the weights
    tiles: list[Any]
    frames: dict[int, NDArray[np.float32]]


def write_random_checkpoint(path: Path, model: str, seed: int) -> None:
    """Write the network with untrained weights: the same file format, the same loader, nothing learned.

    Raises:
        RuntimeNotAvailableError: torch is not installed.
        UnknownArchitectureError: nobody registered `model`.
    """
    torch = require("torch", install="pip install torch==2.13.0", purpose="the network with random weights")
    torch.manual_seed(seed)
    torch.save(default_registry().lookup(model).build().state_dict(), path)


def describe_map(
    tasks: Sequence[EmbeddingTask], local: Settings, orthophoto: Path, grid: TileGrid, show: Callable[[int], None]
) -> DescribedMap:
    """Put every tile through every network, through the same pipeline that the node runs.

    Args:
        tasks: one for each network of global descriptors.
        local: settings of a network of local features; its `top_k` are kept of a tile. Tiles are seen with as many
            pixels as it takes.
        orthophoto: file.
        grid: of tiles.
        show: called with the number of images so far.

    Raises:
        GpsDeniedInferenceError: a network could not be loaded or failed; a process died.
    """
    ranges = slices(len(grid.views))
    # The slowest network first, so that the processes end together.
    jobs = [partial(_extract, local, orthophoto, grid, first, last) for first, last in ranges]
    for task in tasks:
        for number, (first, last) in enumerate(ranges):
            bag = None if number else task.flight_bag
            jobs.append(partial(_embed, task.settings, orthophoto, grid, first, last, bag))
    results = run_jobs(jobs, show)
    parts = [results[start : start + len(ranges)] for start in range(0, len(results), len(ranges))]
    return DescribedMap([_embedding(of_task, grid) for of_task in parts[1:]], _features(parts[0], local, grid))


def _embedding(parts: Sequence[_Slice], grid: TileGrid) -> NetworkEmbedding:
    space_id, model, weights_sha256 = parts[0].details
    camera = grid.camera
    index = TileIndex(
        space_id,
        np.stack([values for part in parts for values in part.tiles]),
        np.array([(view.x_m, view.y_m) for view in grid.views], np.float64),
        np.array([view.heading_deg for view in grid.views], np.float64),
        TileIndexDetails(
            model=model,
            weights_sha256=weights_sha256,
            side_m=grid.side_m,
            aspect=camera.width_px / camera.height_px,
        ),
    )
    return NetworkEmbedding(index, parts[0].frames)


def _features(parts: Sequence[_Slice], local: Settings, grid: TileGrid) -> TileFeatures:
    tiles: list[LocalFeatures] = [tile for part in parts for tile in part.tiles]
    space_id, model, _ = parts[0].details
    top_k = local.engine().top_k
    return TileFeatures.of_tiles(
        tiles,
        top_k or max(tile.count for tile in tiles),
        index_sha256="",
        space_id=space_id,
        model=model,
        meters_per_pixel=grid.side_m / min(tiles[0].image_height, tiles[0].image_width),
    )


# In a worker process.


def _embed(
    settings: Settings, orthophoto_path: Path, grid: TileGrid, first: int, last: int, flight_bag: Path | None
) -> _Slice:
    orthophoto = load_orthophoto(orthophoto_path)
    tiles, frames = [], {}
    with assemble_pipeline(settings) as pipeline:
        for view in grid.views[first:last]:
            tiles.append(_describe(pipeline, _frame_from_tile(render_tile(orthophoto, grid, view))))
            count_image()
        if flight_bag is not None:
            with BagReader(flight_bag) as reader:
                for image in reader.images(reader.choose_image_topic(IMAGE_TOPIC)):
                    frame = reader.frame(image)
                    frames[frame.stamp_ns] = _describe(pipeline, frame)
                    count_image()
        return _Slice(_details(pipeline), tiles, frames)


def _extract(settings: Settings, orthophoto_path: Path, grid: TileGrid, first: int, last: int) -> _Slice:
    orthophoto = load_orthophoto(orthophoto_path)
    tiles = []
    with assemble_pipeline(settings) as pipeline:
        takes = pipeline.model.spec.preprocess
        finer = replace(grid, camera=replace(grid.camera, width_px=takes.width, height_px=takes.height))
        for view in grid.views[first:last]:
            features = pipeline.process(_frame_from_tile(render_tile(orthophoto, finer, view))).features
            if not isinstance(features, LocalFeatures):
                raise InferenceError(f"'{pipeline.model.name}' gives no local features; take one that does")
            tiles.append(features)
            count_image()
        return _Slice(_details(pipeline), tiles, {})


def _details(pipeline: Pipeline) -> tuple[str, str, str]:
    return pipeline.model.space_id, pipeline.model.name, pipeline.model.weights_sha256


def _describe(pipeline: Pipeline, frame: Any) -> NDArray[np.float32]:
    features = pipeline.process(frame).features
    if not isinstance(features, GlobalDescriptor):
        raise InferenceError(
            f"'{pipeline.model.name}' gives local features; place recognition needs a network with a global descriptor"
        )
    return features.values


def _frame_from_tile(tile_rgb: NDArray[np.uint8]) -> ImageFrame:
    height, width = tile_rgb.shape[:2]
    return ImageFrame(0, "tile", "rgb8", height, width, 3 * width, False, np.ascontiguousarray(tile_rgb).reshape(-1))
