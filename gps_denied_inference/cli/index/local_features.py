"""The second part of `gdi index build`: local features of every tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.cli.console import progress
from gps_denied_inference.cli.index.tiled_map import TiledMap
from gps_denied_inference.core.assembly import assemble_pipeline
from gps_denied_inference.core.contracts import LocalFeatures, OutputKind
from gps_denied_inference.core.errors import SettingsError
from gps_denied_inference.core.flight import NadirCamera, frame_of_tile, render_tile
from gps_denied_inference.core.index import PartialIndex, TileFeatures, save_tile_features
from gps_denied_inference.core.settings import Settings

__all__ = ["build_tile_features"]


def build_tile_features(
    maps: Sequence[TiledMap],
    settings: Settings,
    path: Path,
    *,
    model: str,
    most_keypoints: int,
    shorter_px: int,
    side_m: float,
    index_sha256: str,
) -> str:
    """Extract the local features of every tile and write them. Killed, it goes on where it stood.

    Args:
        maps: with their tiles.
        settings: of the engine that embedded them; the network is changed.
        path: of the file.
        model: name of a network with local features.
        most_keypoints: of a tile, best scores first.
        shorter_px: side of a tile's picture.
        side_m: that side on the ground.
        index_sha256: content of the index that the tiles are rows of.

    Returns:
        SHA-256 of the content.
    """
    engine = replace(settings.engine(), model=model, checkpoint=None, top_k=most_keypoints)
    pictures = [_with_pixels(tiled, shorter_px) for tiled in maps]
    views = [(tiled, view) for tiled in pictures for view in tiled.grid.views]
    with assemble_pipeline(replace(settings, engines=(engine,))) as pipeline:
        spec = pipeline.model.spec
        if spec.output_kind is not OutputKind.LOCAL_FEATURES:
            raise SettingsError("--local-model", model, "a network with local features (gdi models)")
        dimension = spec.descriptor_dimension
        plan = {
            "index": index_sha256,
            "space_id": pipeline.model.space_id,
            "precision": pipeline.model.configuration.effective_precision.value,
            "pixels": shorter_px,
            "keypoints": most_keypoints,
        }
        numbers = 1 + most_keypoints * (3 + dimension)
        with PartialIndex(path.with_name(path.name + ".partial"), plan, numbers) as partial:
            with progress(f"extracting the features of {len(views)} tiles", len(views)) as show:
                for tiled, view in views[partial.count :]:
                    tile_rgb = render_tile(tiled.ground.orthophoto, tiled.grid, view)
                    features = pipeline.process(frame_of_tile(tile_rgb)).features
                    assert isinstance(features, LocalFeatures)
                    partial.append(_row(features, most_keypoints))
                    show(partial.count)
            camera = pictures[0].grid.camera
            sha256 = save_tile_features(
                _from_rows(
                    partial.rows(),
                    most_keypoints,
                    dimension,
                    TileFeatures(
                        index_sha256=index_sha256,
                        space_id=pipeline.model.space_id,
                        model=model,
                        image_height=camera.height_px,
                        image_width=camera.width_px,
                        meters_per_pixel=side_m / shorter_px,
                        counts=np.empty(0, np.int32),
                        keypoints_px=np.empty((0, most_keypoints, 2), np.float32),
                        scores=np.empty((0, most_keypoints), np.float32),
                        descriptors=np.empty((0, most_keypoints, dimension), np.float16),
                    ),
                ),
                path,
            )
            partial.remove()
    return sha256


def _with_pixels(tiled: TiledMap, shorter_px: int) -> TiledMap:
    """The same tiles, taken with another number of pixels."""
    camera = tiled.grid.camera
    scale = shorter_px / min(camera.width_px, camera.height_px)
    finer = NadirCamera(round(camera.width_px * scale), round(camera.height_px * scale), camera.horizontal_fov_deg)
    return replace(tiled, grid=replace(tiled.grid, camera=finer))


def _row(features: LocalFeatures, most: int) -> NDArray[np.float32]:
    """All numbers of a tile, padded with zeros."""
    padded = [
        np.concatenate((values, np.zeros((most - features.count, *values.shape[1:]), np.float32))).reshape(-1)
        for values in (features.keypoints_px, features.scores, features.descriptors)
    ]
    return np.concatenate((np.array([features.count], np.float32), *padded))


def _from_rows(rows: NDArray[np.float32], most: int, dimension: int, empty: TileFeatures) -> TileFeatures:
    counts, keypoints, scores, descriptors = np.split(rows, np.cumsum([1, 2 * most, most]), axis=1)
    return replace(
        empty,
        counts=counts[:, 0].astype(np.int32),
        keypoints_px=keypoints.reshape(-1, most, 2),
        scores=scores,
        descriptors=descriptors.reshape(-1, most, dimension).astype(np.float16),
    )
