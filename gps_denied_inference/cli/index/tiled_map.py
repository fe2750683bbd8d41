"""A map that was cut into tiles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gps_denied_inference.core.flight import GeoreferencedMap, TileGrid

__all__ = ["TiledMap"]


@dataclass(frozen=True, slots=True)
class TiledMap:
    """A map's file, its hash, the map and its tiles."""

    path: Path
    sha256: str
    ground: GeoreferencedMap
    grid: TileGrid
