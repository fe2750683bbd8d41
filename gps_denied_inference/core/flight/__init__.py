"""A virtual nadir camera that flies over a real orthophoto: images with a ground truth, without an aircraft."""

from gps_denied_inference.core.flight.camera import NadirCamera, orthophoto_span_m
from gps_denied_inference.core.flight.disturbance import Disturbance, disturb, disturbance_at
from gps_denied_inference.core.flight.flight import CAMERA_FRAME_ID, FlightFrame, FlightPlan, fly
from gps_denied_inference.core.flight.georeferenced_map import GeoreferencedMap, load_georeferenced_map
from gps_denied_inference.core.flight.ground_patch import ground_patch
from gps_denied_inference.core.flight.orthophoto import Orthophoto, load_orthophoto, locate_orthophoto
from gps_denied_inference.core.flight.pose import CameraPose
from gps_denied_inference.core.flight.season import Season, recolor
from gps_denied_inference.core.flight.tiles import (
    TileGrid,
    TileView,
    camera_of_tiles,
    cut_tile,
    frame_of_tile,
    plan_tiles,
    render_tile,
)
from gps_denied_inference.core.flight.trajectory import plan_trajectory
from gps_denied_inference.core.flight.view_pairs import (
    CONDITIONS,
    MapPart,
    ViewCondition,
    ViewPair,
    part_span_m,
    take_view,
    view_pairs,
)

__all__ = [
    "CAMERA_FRAME_ID",
    "CONDITIONS",
    "CameraPose",
    "Disturbance",
    "FlightFrame",
    "FlightPlan",
    "GeoreferencedMap",
    "MapPart",
    "NadirCamera",
    "Orthophoto",
    "Season",
    "TileGrid",
    "TileView",
    "ViewCondition",
    "ViewPair",
    "camera_of_tiles",
    "cut_tile",
    "disturb",
    "disturbance_at",
    "fly",
    "frame_of_tile",
    "ground_patch",
    "load_georeferenced_map",
    "load_orthophoto",
    "locate_orthophoto",
    "orthophoto_span_m",
    "part_span_m",
    "plan_tiles",
    "plan_trajectory",
    "recolor",
    "render_tile",
    "take_view",
    "view_pairs",
]
