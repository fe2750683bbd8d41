"""A virtual nadir camera that flies over a real orthophoto: images with a ground truth, without an aircraft."""

from gps_denied_inference.core.flight.camera import NadirCamera, orthophoto_span_m
from gps_denied_inference.core.flight.disturbance import Disturbance, disturb, disturbance_at
from gps_denied_inference.core.flight.flight import CAMERA_FRAME_ID, FlightFrame, FlightPlan, fly
from gps_denied_inference.core.flight.orthophoto import Orthophoto, load_orthophoto, locate_orthophoto
from gps_denied_inference.core.flight.pose import CameraPose
from gps_denied_inference.core.flight.tiles import TileGrid, TileView, plan_tiles, render_tile
from gps_denied_inference.core.flight.trajectory import plan_trajectory

__all__ = [
    "CAMERA_FRAME_ID",
    "CameraPose",
    "Disturbance",
    "FlightFrame",
    "FlightPlan",
    "NadirCamera",
    "Orthophoto",
    "TileGrid",
    "TileView",
    "disturb",
    "disturbance_at",
    "fly",
    "load_orthophoto",
    "locate_orthophoto",
    "orthophoto_span_m",
    "plan_tiles",
    "plan_trajectory",
    "render_tile",
]
