"""What the demo flies and how its map is cut."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from gps_denied_inference.cli.demonstration.heat import HeatPlan
from gps_denied_inference.cli.demonstration.localization import LOCAL_MODEL
from gps_denied_inference.core.flight import FlightPlan, NadirCamera, Orthophoto, TileGrid, plan_tiles

__all__ = ["DemoPlan", "quick_plan"]


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """Sizes of the demo, and the bounds that it must meet.

    Tiles are taken at half the flying camera's resolution: the network sees 224 pixels. Eight headings a tile keep
    every frame, four only nine of ten (docs/measurements).

    Attributes:
        flight: what is flown.
        tile_camera: takes the tiles.
        tile_stride_m: distance of neighbouring tiles, about, metres.
        headings: at each tile position.
        minimum_recall_at_1: with the trained weights.
        minimum_agreement: cosine of the two runtimes' descriptors, on every frame.
        minimum_gain: of the trained weights' recall over that of random ones.
        candidates: of a frame that are looked up and ranked again.
        tile_keypoints, frame_keypoints: local features, best first.
        minimum_inliers: that a homography needs to be believed. Of true tiles 54 and more were seen, four points agree
            on any.
        maximum_refined_share: median error of the refined positions as a share of that of the same frames' best tiles.
        minimum_published_share: of the frames that were sent. A computer that does other work too drops some,
            overwritten by newer ones; a way that is broken drops most.
        minimum_coverage: share of the frames that must be refined; how many are, the computer's speed decides.
        heat: the heat episode.
    """

    flight: FlightPlan = field(default_factory=FlightPlan)
    tile_camera: NadirCamera = field(default_factory=lambda: NadirCamera(320, 240))
    tile_stride_m: float = 12.0
    headings: int = 8
    minimum_recall_at_1: float = 0.9
    minimum_gain: float = 0.4
    minimum_agreement: float = 0.9999
    candidates: int = 5
    tile_keypoints: int = 256
    frame_keypoints: int = 512
    minimum_inliers: int = 15
    maximum_refined_share: float = 0.6
    minimum_published_share: float = 0.5
    minimum_coverage: float = 0.1
    heat: HeatPlan = field(default_factory=HeatPlan)

    def tiles(self, orthophoto: Orthophoto) -> TileGrid:
        """Return the grid of tiles for an orthophoto."""
        return plan_tiles(
            orthophoto,
            self.tile_camera,
            height_m=self.flight.height_m,
            stride_m=self.tile_stride_m,
            headings=self.headings,
        )


def quick_plan() -> DemoPlan:
    """Return a plan of a few seconds that shows the way, not the figures: for tests."""
    return DemoPlan(
        flight=FlightPlan(frames=30),
        tile_stride_m=60.0,
        minimum_recall_at_1=0.0,
        minimum_gain=-1.0,
        maximum_refined_share=math.inf,
        minimum_published_share=0.0,
        minimum_coverage=0.0,
        heat=HeatPlan(LOCAL_MODEL, 0.5, (2.5, 5.0), dwell_s=0.5, stable_s=0.5, smaller_input=None, judges_steps=False),
    )
