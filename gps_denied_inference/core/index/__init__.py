"""Place recognition over descriptors in memory."""

from gps_denied_inference.core.index.tile_index import TileIndex, TileMatch

__all__ = ["TileIndex", "TileMatch"]
