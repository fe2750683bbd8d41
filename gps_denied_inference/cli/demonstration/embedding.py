"""Descriptors of the map's tiles, for several networks at once, each in processes of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from queue import Empty
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.cli.demonstration.flight_bag import IMAGE_TOPIC
from gps_denied_inference.core.architectures import default_registry
from gps_denied_inference.core.assembly import assemble_pipeline
from gps_denied_inference.core.contracts import GlobalDescriptor, ImageFrame
from gps_denied_inference.core.errors import GpsDeniedInferenceError, InferenceError, ReplayError
from gps_denied_inference.core.flight import TileGrid, load_orthophoto, render_tile
from gps_denied_inference.core.index import TileIndex
from gps_denied_inference.core.optional import require
from gps_denied_inference.core.pipeline import Pipeline
from gps_denied_inference.core.replay import BagReader
from gps_denied_inference.core.settings import Settings

__all__ = ["EmbeddingTask", "NetworkEmbedding", "embed_tiles", "write_random_checkpoint"]

_REPORT_EVERY = 16
_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class EmbeddingTask:
    """What one network embeds.

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


@dataclass(frozen=True, slots=True)
class _Job:
    settings: Settings
    orthophoto: Path
    grid: TileGrid
    first: int
    last: int
    flight_bag: Path | None


@dataclass(frozen=True, slots=True, eq=False)
class _JobResult:
    space_id: str
    tiles: NDArray[np.float32]
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


def embed_tiles(
    tasks: list[EmbeddingTask], orthophoto: Path, grid: TileGrid, show: Callable[[int], None]
) -> list[NetworkEmbedding]:
    """Embed every tile with every network, through the same pipeline that the node runs.

    One process a core, one thread a process: at batch 1 two processes do twice the work of one with two threads.

    Args:
        tasks: one a network.
        orthophoto: file.
        grid: of tiles.
        show: called with the number of images embedded so far.

    Raises:
        GpsDeniedInferenceError: a network could not be loaded or failed; a process died.
    """
    processes = max(len(tasks), min(len(os.sched_getaffinity(0)), 8))
    slices = max(1, processes // len(tasks))
    edges = [len(grid.views) * index // slices for index in range(slices + 1)]
    jobs = [
        [
            _Job(task.settings, orthophoto, grid, first, last, task.flight_bag if first == 0 else None)
            for first, last in pairwise(edges)
        ]
        for task in tasks
    ]
    context = multiprocessing.get_context("spawn")
    done = context.Queue()
    with (
        _one_thread_a_process(),
        ProcessPoolExecutor(processes, mp_context=context, initializer=_start, initargs=(done,)) as pool,
    ):
        futures = [[pool.submit(_embed, job) for job in of_task] for of_task in jobs]
        _follow([future for of_task in futures for future in of_task], done, show)
        results = [[future.result() for future in of_task] for of_task in futures]
    return [_joined(of_task, grid) for of_task in results]


def _follow(futures: list[Future[_JobResult]], done: Any, show: Callable[[int], None]) -> None:
    count = 0
    while not all(future.done() for future in futures):
        try:
            count += done.get(timeout=_POLL_S)
            show(count)
        except Empty:
            pass
        for future in futures:
            error = future.exception() if future.done() else None
            if error is None:
                continue
            for other in futures:
                other.cancel()
            if isinstance(error, GpsDeniedInferenceError):
                raise error
            raise ReplayError(f"a process that embeds tiles failed: {error}") from error
    while not done.empty():
        count += done.get()
    show(count)


def _joined(results: list[_JobResult], grid: TileGrid) -> NetworkEmbedding:
    index = TileIndex(
        results[0].space_id,
        np.concatenate([result.tiles for result in results]),
        np.array([(view.x_m, view.y_m) for view in grid.views], np.float64),
        np.array([view.heading_deg for view in grid.views], np.float64),
    )
    return NetworkEmbedding(index, results[0].frames)


@contextmanager
def _one_thread_a_process() -> Iterator[None]:
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


_done: Any = None
"""Queue of a worker process to its parent: how many images were embedded since the last entry."""


def _start(done: Any) -> None:
    # The pool's initializer has no other way to hand something to its process.
    global _done
    _done = done
    # Ctrl-C reaches the whole process group; the parent says what there is to say.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _embed(job: _Job) -> _JobResult:
    orthophoto = load_orthophoto(job.orthophoto)
    tiles, frames = [], {}
    with assemble_pipeline(job.settings) as pipeline:
        for view in job.grid.views[job.first : job.last]:
            tiles.append(_describe(pipeline, _frame_from_tile(render_tile(orthophoto, job.grid, view))))
            _count(len(tiles))
        if job.flight_bag is not None:
            with BagReader(job.flight_bag) as reader:
                for image in reader.images(reader.choose_image_topic(IMAGE_TOPIC)):
                    frame = reader.frame(image)
                    frames[frame.stamp_ns] = _describe(pipeline, frame)
                    _count(len(frames))
        _done.put((len(tiles) % _REPORT_EVERY) + (len(frames) % _REPORT_EVERY))
        return _JobResult(pipeline.model.space_id, np.stack(tiles), frames)


def _count(done: int) -> None:
    if done % _REPORT_EVERY == 0:
        _done.put(_REPORT_EVERY)


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
