"""Place recognition over descriptors in memory."""

from gps_denied_inference.core.index.stored_tile_index import load_tile_index, save_tile_index
from gps_denied_inference.core.index.tile_index import TileIndex, TileMatch

__all__ = ["TileIndex", "TileMatch", "load_tile_index", "save_tile_index"]
