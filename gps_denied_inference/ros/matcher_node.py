"""The lifecycle node that matches the local features of two images."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gps_denied_inference.msg as messages
from gps_denied_inference.core.contracts import DropReason, OutputKind, SentFeatures, StageTimings
from gps_denied_inference.core.errors import InferenceError, SettingsError
from gps_denied_inference.core.health import Level, TaskStatus, engine_status
from gps_denied_inference.core.index import TileFeatures, load_tile_features, tile_frame_id
from gps_denied_inference.core.interface import (
    feature_matches_message,
    sent_features_from_message,
    stamp_ns_from_message,
)
from gps_denied_inference.core.pipeline import (
    FeatureMatcher,
    FeaturePair,
    FrameCounts,
    MatchedFeatures,
    MatchingPipeline,
    MutualNearestMatching,
    StampPairs,
)
from gps_denied_inference.ros.matcher_parameters import MATCHER_ENGINE_FIELDS, MATCHER_FIELDS
from gps_denied_inference.ros.matching_engine import load_matching_engine
from gps_denied_inference.ros.matching_node import MatchingNode, MatchingProcessor
from gps_denied_inference.ros.parameters import NodeParameters

__all__ = ["MatcherNode"]

_KEPT = 16
"""Messages that wait for their counterpart: half a second at 30 Hz."""


@dataclass(frozen=True, slots=True)
class _MessagePair:
    """A `LocalFeatures` message, and what it is matched with: another one, `PlaceCandidates`, or None yet."""

    first: Any
    second: Any


class MatcherNode(MatchingNode[_MessagePair]):
    """Subscribes `local_features` and `reference_features`, publishes `feature_matches` and `/diagnostics`.

    Each message on `local_features` is matched with the latest that has come on `reference_features` since the node
    was last deactivated. With the parameter `tile_features` it is matched with the tile that is first in the
    `place_candidates` of its stamp, whichever of the two comes first: 16 of each wait for their counterpart, no longer
    than `max_frame_age_ms`; features that waited in vain are counted as unpaired. `second_header` then has no stamp,
    and the frame_id of `tile_frame_id`.

    Args:
        name: of the node, unless remapped.

    Raises:
        SettingsError: a parameter override is wrong.
    """

    def __init__(self, name: str = "matcher_node", **node_options: Any) -> None:
        self._reference: Any = None
        self._tiles: TileFeatures | None = None
        self._pairs: StampPairs[Any, Any] = StampPairs(_KEPT)
        super().__init__(name, task="matching", **node_options)

    def _declare_parameters(self) -> NodeParameters:
        return NodeParameters(self, fields=MATCHER_FIELDS, engine_fields=MATCHER_ENGINE_FIELDS)

    def _prepare(self) -> bool:
        parameters = self._node_parameters
        path = parameters.text("tile_features")
        self._tiles = load_tile_features(Path(path).expanduser()) if path else None
        _camera(parameters, has_tiles=self._tiles is not None)
        refine_below_inliers = parameters.count("refine_below_inliers")
        is_nearest = parameters.text("matcher") == "mutual_nearest"
        if refine_below_inliers and not is_nearest:
            raise SettingsError(
                "refine_below_inliers", refine_below_inliers, "0 where the network matches already (matcher: network)"
            )
        return not is_nearest or refine_below_inliers > 0

    def _processor(self, network: MatchingPipeline | None) -> MatchingProcessor[_MessagePair]:
        parameters, tiles = self._node_parameters, self._tiles
        is_nearest = parameters.text("matcher") == "mutual_nearest"
        nearest = MutualNearestMatching(
            min_similarity=lambda: parameters.number("min_similarity"),
            max_ratio=lambda: parameters.number("max_ratio"),
        )
        matcher = FeatureMatcher(
            nearest if is_nearest or network is None else network,
            threshold_px=lambda: parameters.number("inlier_threshold_px"),
            camera=_camera(parameters, has_tiles=tiles is not None),
            refinement=network if is_nearest else None,
            refine_below_inliers=parameters.count("refine_below_inliers"),
        )
        return _MessageProcessor(network, matcher, tiles)

    def _loaded_network(self) -> MatchingPipeline:
        settings = self._node_parameters.settings()
        self._log_bridge.install(is_debug=settings.per_frame_debug_log)
        return load_matching_engine(settings, OutputKind.MATCHES, self.get_logger(), "matcher")

    def deactivate(self) -> None:
        # What belongs to images of this activation must not be matched with those of the next.
        self._reference = None
        self._count_out(self._pairs.clear(), DropReason.INACTIVE)
        super().deactivate()

    def _unload(self) -> None:
        self._reference = self._tiles = None
        self._pairs.clear()
        super()._unload()

    def _subscribe(self) -> None:
        self._listen(messages.LocalFeatures, "local_features", self._on_features)
        if self._tiles is None:
            self._listen(messages.LocalFeatures, "reference_features", self._on_reference)
        else:
            self._listen(messages.PlaceCandidates, "place_candidates", self._on_candidates)

    def _on_features(self, message: Any) -> None:
        is_working = self._worker is not None and self._worker.is_running
        if self._tiles is None or not is_working:  # of one that does not work it is counted as inactive
            self._submit(_MessagePair(message, self._reference))
            return
        self._last_received_ns = time.monotonic_ns()
        candidates = self._pairs.offer_first(stamp_ns_from_message(message), message, self._last_received_ns)
        if candidates is not None:
            self._submit(_MessagePair(message, candidates))
        self._count_out(self._pairs.take_let_go(), DropReason.UNPAIRED)

    def _on_reference(self, message: Any) -> None:
        self._reference = message

    def _on_candidates(self, message: Any) -> None:
        waiting = self._pairs.offer_second(stamp_ns_from_message(message), message)
        if waiting is not None:
            self._submit(_MessagePair(waiting.item, message), waiting.received_ns)

    def _counts(self) -> FrameCounts:
        oldest_ns = time.monotonic_ns() - int(self._node_parameters.number("max_frame_age_ms") * 1e6)
        self._pairs.let_go_before(oldest_ns)
        self._count_out(self._pairs.take_let_go(), DropReason.UNPAIRED)
        counts, waiting = super()._counts(), self._pairs.waiting_count
        return replace(counts, received=counts.received + waiting, pending=counts.pending + waiting)

    @property
    def _output(self) -> tuple[Any, str]:
        return messages.FeatureMatches, "feature_matches"

    def _message(self, result: MatchedFeatures, dropped: Mapping[DropReason, int]) -> Any:
        return feature_matches_message(self._factory, result, dropped_since_last=dropped)

    def _timings(self, result: MatchedFeatures) -> StageTimings:
        return result.timings

    def _resource_status(self) -> TaskStatus:
        network, failure = self._network, self._failure
        if network is None and not failure:
            name = self._node_parameters.text("matcher")
            message = "mutual nearest neighbours need no engine" if name == "mutual_nearest" else "not configured"
            return TaskStatus("engine", Level.OK, message)
        model = None if network is None else network.model
        return engine_status(model, self.lifecycle_state, failure, reloads=self._reloads)


def _camera(parameters: NodeParameters, *, has_tiles: bool) -> NDArray[np.float64] | None:
    """The camera matrix; None where a homography is looked for."""
    geometry, focal_px = parameters.text("geometry"), parameters.number("camera_focal_px")
    if geometry == "homography":
        return None
    if has_tiles:
        raise SettingsError("geometry", geometry, "homography with tile_features: a map is flat, and no camera took it")
    if not focal_px > 0:
        raise SettingsError("camera_focal_px", focal_px, "the focal length, which an essential matrix needs")
    center_px = parameters.number("camera_center_x_px"), parameters.number("camera_center_y_px")
    return np.array([[focal_px, 0.0, center_px[0]], [0.0, focal_px, center_px[1]], [0.0, 0.0, 1.0]])


class _MessageProcessor(MatchingProcessor[_MessagePair]):
    def __init__(self, network: MatchingPipeline | None, matcher: FeatureMatcher, tiles: TileFeatures | None) -> None:
        super().__init__(network)
        self._matcher = matcher
        self._tiles = tiles

    def warm_up_thread(self) -> None:
        self._matcher.warm_up_thread()

    def process(self, frame: _MessagePair, received_ns: int | None = None, /) -> MatchedFeatures:
        first = sent_features_from_message(frame.first)
        if frame.second is None:
            second = None
        elif self._tiles is None:
            second = sent_features_from_message(frame.second)
        else:
            second = _first_tile(frame.second, self._tiles)
        return self._matcher.process(FeaturePair(first, second), received_ns)


def _first_tile(candidates: Any, tiles: TileFeatures) -> SentFeatures:
    if candidates.index_sha256 != tiles.index_sha256:
        raise InferenceError(
            f"the candidates are of the index {candidates.index_sha256}, the tiles' features of {tiles.index_sha256}; "
            "give both nodes files of one build"
        )
    if not candidates.candidates:
        raise InferenceError("the place_candidates of this stamp are none; check the place recognition")
    tile = int(candidates.candidates[0].tile)
    return SentFeatures(0, tile_frame_id(tiles.index_sha256, tile), tiles.space_id, tiles.of_tile(tile))
