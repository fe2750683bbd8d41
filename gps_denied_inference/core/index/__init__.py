"""Place recognition: descriptors of a map's tiles, in memory and on disk."""

from gps_denied_inference.core.index.image_position import PictureScale, image_center_m
from gps_denied_inference.core.index.partial_index import PartialIndex
from gps_denied_inference.core.index.place_recognizer import PlaceRecognizer, rank_margin
from gps_denied_inference.core.index.reranker import RankedTile, TileReranker
from gps_denied_inference.core.index.stored_tile_index import load_tile_index, save_tile_index
from gps_denied_inference.core.index.tile_features import (
    TileFeatures,
    load_tile_features,
    save_tile_features,
    tile_frame_id,
    tile_of_frame_id,
)
from gps_denied_inference.core.index.tile_index import TileIndex, TileIndexDetails, TileMatch

__all__ = [
    "PartialIndex",
    "PictureScale",
    "PlaceRecognizer",
    "RankedTile",
    "TileFeatures",
    "TileIndex",
    "TileIndexDetails",
    "TileMatch",
    "TileReranker",
    "image_center_m",
    "load_tile_features",
    "load_tile_index",
    "rank_margin",
    "save_tile_features",
    "save_tile_index",
    "tile_frame_id",
    "tile_of_frame_id",
]
