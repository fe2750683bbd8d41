"""Candidates in a new order, by how well their tiles match the image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gps_denied_inference.core.contracts import LocalFeatures
from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.index.image_position import image_center_m
from gps_denied_inference.core.index.tile_features import TileFeatures
from gps_denied_inference.core.index.tile_index import TileIndex
from gps_denied_inference.core.matching import match_mutual_nearest, verify_homography

__all__ = ["RankedTile", "TileReranker"]


@dataclass(frozen=True, slots=True)
class RankedTile:
    """How well a tile matches an image.

    Attributes:
        tile: its row in the index.
        match_count: pairs of keypoints.
        inlier_count: those that agree on a homography.
        median_residual_px: of the inliers, pixels of the tile's picture; NaN without any.
        x_m, y_m: where the centre of the image lies by that homography, in the map's coordinates; NaN without one.
    """

    tile: int
    match_count: int
    inlier_count: int
    median_residual_px: float
    x_m: float
    y_m: float


class TileReranker:
    """Matches images with the tiles of an index, by mutual nearest neighbours and MAGSAC++.

    Args:
        index: of the map.
        features: of its tiles.
        threshold_px: largest noise of a true match, pixels of the tile's picture; read with each call.
    """

    def __init__(self, index: TileIndex, features: TileFeatures, *, threshold_px: Callable[[], float]) -> None:
        if len(index) != len(features):
            raise InferenceError(
                f"the index has {len(index)} tiles, the file of features {len(features)}; build both anew"
            )
        self._index = index
        self._features = features
        self._threshold_px = threshold_px

    def rank(self, image: LocalFeatures, space_id: str, tiles: Sequence[int], keep: int) -> list[RankedTile]:
        """Return the tiles with most inliers, most first; of equal ones the first of `tiles` first.

        Args:
            image: features of the image.
            space_id: of its descriptors.
            tiles: rows of the index, most similar first.
            keep: how many to return.

        Raises:
            InferenceError: the descriptors live in another space, or a row does not exist.
        """
        if space_id != self._features.space_id:
            raise InferenceError(
                f"the features live in space '{space_id}', the tiles' in '{self._features.space_id}': they cannot be "
                "compared; make both with the same network, weights and preprocessing"
            )
        ranked = [self._judge(image, tile) for tile in tiles]
        return sorted(ranked, key=lambda entry: -entry.inlier_count)[:keep]

    def _judge(self, image: LocalFeatures, tile: int) -> RankedTile:
        stored = self._features.of_tile(tile)
        matches = match_mutual_nearest(image, stored)
        geometry = verify_homography(
            image.keypoints_px[matches.indices[:, 0]],
            stored.keypoints_px[matches.indices[:, 1]],
            image_height=image.image_height,
            image_width=image.image_width,
            threshold_px=self._threshold_px(),
        )
        x_m, y_m = image_center_m(
            geometry.matrix,
            self._index,
            self._features,
            tile,
            image_height=image.image_height,
            image_width=image.image_width,
        )
        return RankedTile(tile, matches.count, geometry.inlier_count, geometry.median_residual_px, x_m, y_m)
