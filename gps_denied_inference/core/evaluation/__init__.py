"""Figures of merit, and the report that shows them."""

from gps_denied_inference.core.evaluation.accounting import ReplayAccounting
from gps_denied_inference.core.evaluation.flight_report import (
    FlightReport,
    FrameOutcome,
    ImagePair,
    MapPicture,
    RunFacts,
)
from gps_denied_inference.core.evaluation.heat_episode import HeatEpisode, HeatFrame, RungFigures, RungSample
from gps_denied_inference.core.evaluation.html_report import html_report
from gps_denied_inference.core.evaluation.json_report import json_report
from gps_denied_inference.core.evaluation.percentiles import Percentiles, percentiles
from gps_denied_inference.core.evaluation.retrieval import (
    RetrievalScore,
    heading_octants,
    position_errors_m,
    score_retrieval,
    self_similarity,
)
from gps_denied_inference.core.evaluation.runtime_agreement import RuntimeAgreement
from gps_denied_inference.core.evaluation.samples import HealthSample, ThermalSample

__all__ = [
    "FlightReport",
    "FrameOutcome",
    "HealthSample",
    "HeatEpisode",
    "HeatFrame",
    "ImagePair",
    "MapPicture",
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
    "heading_octants",
    "percentiles",
    "position_errors_m",
    "score_retrieval",
    "self_similarity",
]
