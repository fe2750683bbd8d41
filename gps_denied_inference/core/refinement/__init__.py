"""Conditional refinement: an image against the picture of a map, through a network that takes both."""

from gps_denied_inference.core.refinement.dense_matcher import DenseMatcher, ImageMatching, PlacedImage
from gps_denied_inference.core.refinement.map_tiles import MapTiles, load_map_tiles
from gps_denied_inference.core.refinement.refinement_pairs import ReadyImage, RefinementPairs

__all__ = [
    "DenseMatcher",
    "ImageMatching",
    "MapTiles",
    "PlacedImage",
    "ReadyImage",
    "RefinementPairs",
    "load_map_tiles",
]
