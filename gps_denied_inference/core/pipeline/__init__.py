"""From a received frame to its features, on a thread of its own, with nothing lost uncounted."""

from gps_denied_inference.core.pipeline.accounting import FrameCounts, FrameLedger
from gps_denied_inference.core.pipeline.feature_matcher import (
    FeatureMatcher,
    FeaturePair,
    MatchedFeatures,
    MutualNearestMatching,
)
from gps_denied_inference.core.pipeline.found_images import FoundImage, FoundImages
from gps_denied_inference.core.pipeline.hang_watchdog import HangState, HangWatchdog
from gps_denied_inference.core.pipeline.identity import ModelIdentity, space_id
from gps_denied_inference.core.pipeline.latency import LatencySummary, LatencyWindow
from gps_denied_inference.core.pipeline.matching_pipeline import MatchingPipeline
from gps_denied_inference.core.pipeline.pipeline import Pipeline, PipelineResult
from gps_denied_inference.core.pipeline.rate_limit import RateLimit
from gps_denied_inference.core.pipeline.stamp_pairs import StampPairs, WaitingItem
from gps_denied_inference.core.pipeline.turns import Turn, Turns
from gps_denied_inference.core.pipeline.worker import FrameProcessor, FrameWorker, NewestWorker, Processor

__all__ = [
    "FeatureMatcher",
    "FeaturePair",
    "FoundImage",
    "FoundImages",
    "FrameCounts",
    "FrameLedger",
    "FrameProcessor",
    "FrameWorker",
    "HangState",
    "HangWatchdog",
    "LatencySummary",
    "LatencyWindow",
    "MatchedFeatures",
    "MatchingPipeline",
    "ModelIdentity",
    "MutualNearestMatching",
    "NewestWorker",
    "Pipeline",
    "PipelineResult",
    "Processor",
    "RateLimit",
    "StampPairs",
    "WaitingItem",
    "Turn",
    "Turns",
    "space_id",
]
