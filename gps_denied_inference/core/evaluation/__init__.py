"""Figures of merit, and the report that shows them."""

from gps_denied_inference.core.evaluation.accounting import ReplayAccounting
from gps_denied_inference.core.evaluation.flight_report import (
    FlightReport,
    FrameOutcome,
    ImagePair,
    MapPicture,
    RunFacts,
)
from gps_denied_inference.core.evaluation.ground_motion import (
    GroundMotion,
    MotionScore,
    ground_motion,
    score_motions,
)
from gps_denied_inference.core.evaluation.heat_episode import HeatEpisode, HeatFrame, RungFigures, RungSample
from gps_denied_inference.core.evaluation.html_report import html_report
from gps_denied_inference.core.evaluation.json_report import json_report
from gps_denied_inference.core.evaluation.match_score import (
    AUC_THRESHOLDS_PX,
    MatchScore,
    PairOutcome,
    area_under_curve,
    corner_error_px,
    score_matches,
)
from gps_denied_inference.core.evaluation.percentiles import Percentiles, percentiles
from gps_denied_inference.core.evaluation.place_recall import RANKS, PlaceRecall, score_places
from gps_denied_inference.core.evaluation.positions import PositionedImage, read_positions
from gps_denied_inference.core.evaluation.refinement import (
    NodeAccounting,
    NotRefined,
    RefinementScore,
    score_refinement,
)
from gps_denied_inference.core.evaluation.refinement_log import RefinementLog, RefinementTopics
from gps_denied_inference.core.evaluation.retrieval import (
    RetrievalScore,
    heading_octants,
    position_errors_m,
    score_retrieval,
    self_similarity,
)
from gps_denied_inference.core.evaluation.runtime_agreement import RuntimeAgreement
from gps_denied_inference.core.evaluation.samples import HealthSample, ThermalSample
from gps_denied_inference.core.evaluation.tile_folder import read_tiles

__all__ = [
    "AUC_THRESHOLDS_PX",
    "RANKS",
    "FlightReport",
    "FrameOutcome",
    "GroundMotion",
    "HealthSample",
    "HeatEpisode",
    "HeatFrame",
    "ImagePair",
    "MapPicture",
    "MatchScore",
    "MotionScore",
    "NodeAccounting",
    "NotRefined",
    "PairOutcome",
    "PlaceRecall",
    "PositionedImage",
    "RefinementLog",
    "RefinementScore",
    "RefinementTopics",
    "RunFacts",
    "RungFigures",
    "RungSample",
    "ThermalSample",
    "html_report",
    "json_report",
    "Percentiles",
    "ReplayAccounting",
    "RetrievalScore",
    "RuntimeAgreement",
    "area_under_curve",
    "corner_error_px",
    "ground_motion",
    "heading_octants",
    "percentiles",
    "position_errors_m",
    "read_positions",
    "read_tiles",
    "score_matches",
    "score_motions",
    "score_places",
    "score_refinement",
    "score_retrieval",
    "self_similarity",
]
