"""The lifecycle node that matches images with the picture of the map where they may have been taken."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gps_denied_inference.msg as messages
from gps_denied_inference.core.contracts import DropReason, Frame, OutputKind, StageTimings
from gps_denied_inference.core.engines import MemoryBudget
from gps_denied_inference.core.errors import SettingsError
from gps_denied_inference.core.governor import LadderState
from gps_denied_inference.core.health import Level, MemoryMonitor, TaskStatus, engine_status, input_status
from gps_denied_inference.core.index import load_tile_index
from gps_denied_inference.core.interface import (
    feature_matches_message,
    place_recognition_from_message,
    stamp_ns_from_message,
)
from gps_denied_inference.core.pipeline import FrameCounts, MatchedFeatures, MatchingPipeline
from gps_denied_inference.core.refinement import (
    DenseMatcher,
    MapTiles,
    PlacedImage,
    ReadyImage,
    RefinementPairs,
    load_map_tiles,
)
from gps_denied_inference.ros.engine_reports import EngineReports
from gps_denied_inference.ros.hosted_engine import EngineReading
from gps_denied_inference.ros.image_reception import ImageReception
from gps_denied_inference.ros.matching_engine import load_matching_engine
from gps_denied_inference.ros.matching_node import MatchingNode, MatchingProcessor
from gps_denied_inference.ros.parameters import NodeParameters
from gps_denied_inference.ros.qos import image_qos
from gps_denied_inference.ros.refinement_parameters import REFINEMENT_ENGINE_FIELDS, REFINEMENT_FIELDS
from gps_denied_inference.ros.thresholds import input_limits

__all__ = ["RefinementNode"]

_PREFIX = "refinement/"
"""Of what it publishes: the matcher's `feature_matches` and the inference node's topics are others."""


@dataclass(frozen=True, slots=True)
class _Found:
    """An image and the `PlaceCandidates` message of its stamp."""

    frame: Frame
    places: Any


class RefinementNode(MatchingNode[_Found]):
    """Subscribes images and `place_candidates`, publishes `refinement/feature_matches` and `/diagnostics`.

    The tile of an image's best candidate is cut out of the map at its place, heading and scale, and matched with the
    image by a network that takes both. With `refine_below_inliers` the matcher node's `feature_matches` are subscribed,
    too, and only images that have fewer inliers there are matched; the others are counted as not needed. What belongs
    to an image may come before or after it; one that waited in vain is counted as unpaired. Also publishes
    `refinement/engine_health` and, latched, `refinement/model_info`.

    Args:
        name: of the node, unless remapped.

    Raises:
        SettingsError: a parameter override is wrong.
    """

    _is_unpaired_normal = True  # a network of descriptors that takes every third image
    _more_tasks = ("input",)

    def __init__(self, name: str = "refinement_node", **node_options: Any) -> None:
        self._tiles: MapTiles | None = None
        self._memory_budget: MemoryBudget | None = None
        self._memory = MemoryMonitor()
        self._reception: ImageReception | None = None
        # Images come on the reception's thread, what belongs to them on the executor's.
        self._lock = threading.Lock()
        self._pairs: RefinementPairs[Frame, Any] = RefinementPairs(1)
        self._is_pairing = False
        self._matches_topic = ""
        super().__init__(name, task="refinement", **node_options)
        self._engine_reports = EngineReports(self, self._node_parameters, self._factory, topic_prefix=_PREFIX, label="")

    def _declare_parameters(self) -> NodeParameters:
        return NodeParameters(self, fields=REFINEMENT_FIELDS, engine_fields=REFINEMENT_ENGINE_FIELDS)

    def _prepare(self) -> bool:
        parameters = self._node_parameters
        self._tiles = self._loaded_tiles()
        self._memory_budget = MemoryBudget(parameters.settings().gpu_memory_budget_bytes)
        self._pairs = RefinementPairs(
            parameters.count("max_waiting_images"), parameters.count("refine_below_inliers"), self._is_judged
        )
        self._memory.forget()
        return True

    def _loaded_network(self) -> MatchingPipeline:
        settings = self._node_parameters.settings()
        self._log_bridge.install(is_debug=settings.per_frame_debug_log)
        return load_matching_engine(
            settings, OutputKind.CORRESPONDENCES, self.get_logger(), "refinement", self._memory_budget
        )

    def _processor(self, network: MatchingPipeline | None) -> MatchingProcessor[_Found]:
        parameters = self._node_parameters
        assert network is not None
        assert self._tiles is not None
        return _MessageProcessor(
            network,
            DenseMatcher(
                network,
                self._tiles,
                threshold_px=lambda: parameters.number("inlier_threshold_px"),
                candidates=lambda: parameters.count("candidates"),
            ),
        )

    def _loaded_tiles(self) -> MapTiles:
        parameters = self._node_parameters
        path = parameters.text("index")
        if not path:
            raise SettingsError("index", path, "the path of a file that 'gdi index build' wrote")
        index = load_tile_index(Path(path).expanduser())
        if not index.details.maps:
            self.get_logger().warning(f"{path} does not say which maps it was built from: they are taken as they are")
        maps = [Path(item).expanduser() for item in parameters.texts("maps")]
        tiles = load_map_tiles(index, maps, shorter_px=parameters.count("tile_pixels"))
        self.get_logger().info(
            f"{len(index)} tiles, pictures of {tiles.image_width}x{tiles.image_height} pixels at "
            f"{tiles.meters_per_pixel:.3g} m"
        )
        return tiles

    def activate(self) -> None:
        super().activate()
        with self._lock:
            self._is_pairing = True

    def deactivate(self) -> None:
        # What belongs to images of this activation must not be matched with those of the next.
        with self._lock:
            self._is_pairing = False
            self._count_out(self._pairs.clear(), DropReason.INACTIVE)
        super().deactivate()

    def _unload(self) -> None:
        if self._reception is not None:
            self._reception.close()
            self._reception = None
        self._engine_reports.end()
        self._tiles = self._memory_budget = None
        super()._unload()

    def _subscribe(self) -> None:
        assert self._network is not None
        parameters = self._node_parameters
        self._listen(messages.PlaceCandidates, "place_candidates", self._on_candidates)
        if parameters.count("refine_below_inliers"):
            self._listen(messages.FeatureMatches, "feature_matches", self._on_matches)
            self._matches_topic = self._inputs[-1].topic_name
        self._engine_reports.begin(self._network.model, self._network.model.runtime_label.value)
        self._reception = ImageReception(
            self,
            is_compressed=parameters.text("image_transport") == "compressed",
            qos=image_qos(parameters.text("input_reliability"), parameters.count("input_depth")),
            submit=self._on_image,
            future_tolerance_ms=lambda: parameters.number("input_future_tolerance_ms"),
        )

    def _is_judged(self) -> bool:
        return bool(self.count_publishers(self._matches_topic) > 0)

    def _on_image(self, frame: Frame, received_ns: int) -> None:
        """On the reception's thread."""
        with self._lock:
            if not self._is_pairing:
                self._count_out(1, DropReason.INACTIVE)
            elif not frame.data.size:  # bytes that are no message have no stamp either
                self._count_out(1, DropReason.UNDECODABLE)
            else:
                self._let_go_old()
                self._offer(self._pairs.offer_image(frame.stamp_ns, frame, received_ns))

    def _on_candidates(self, message: Any) -> None:
        self._last_received_ns = time.monotonic_ns()
        with self._lock:
            if self._is_pairing:
                self._offer(self._pairs.offer_places(stamp_ns_from_message(message), message))

    def _on_matches(self, message: Any) -> None:
        with self._lock:
            if self._is_pairing:
                self._offer(self._pairs.offer_inliers(stamp_ns_from_message(message), int(message.inlier_count)))

    def _offer(self, ready: ReadyImage[Frame, Any] | None) -> None:
        if ready is not None:
            self._submit(_Found(ready.image, ready.places), ready.received_ns)
        self._count_out(self._pairs.take_not_needed(), DropReason.NOT_NEEDED)
        self._count_out(self._pairs.take_let_go(), DropReason.UNPAIRED)

    def _let_go_old(self) -> None:
        self._pairs.let_go_before(time.monotonic_ns() - int(self._node_parameters.number("max_frame_age_ms") * 1e6))

    def _counts(self) -> FrameCounts:
        with self._lock:
            self._let_go_old()
            self._offer(None)
            counts, waiting = super()._counts(), self._pairs.waiting_count
        return replace(counts, received=counts.received + waiting, pending=counts.pending + waiting)

    @property
    def _output(self) -> tuple[Any, str]:
        return messages.FeatureMatches, f"{_PREFIX}feature_matches"

    def _message(self, result: MatchedFeatures, dropped: Mapping[DropReason, int]) -> Any:
        return feature_matches_message(self._factory, result, dropped_since_last=dropped)

    def _timings(self, result: MatchedFeatures) -> StageTimings:
        return result.timings

    # Reports, on the executor's thread.

    def _resource_status(self) -> TaskStatus:
        network = self._network
        model = None if network is None else network.model
        status = engine_status(model, self.lifecycle_state, self._failure, reloads=self._reloads)
        if self._tiles is None:
            return status
        index = self._tiles.index
        values = {"index_sha256": index.sha256, "maps": ", ".join(name for name, _ in index.details.maps)}
        return replace(status, values={**status.values, **values})

    def _more_statuses(self) -> Sequence[TaskStatus]:
        if self._reception is None:
            return (TaskStatus("input", Level.OK, "not subscribed; configure the node"),)
        return (input_status(self._reception.reading(), self._is_pairing, input_limits(self._node_parameters)),)

    def _tell(self, statuses: Sequence[TaskStatus]) -> None:
        network = self._network
        model = None if network is None else network.model
        runtime = "" if model is None else model.runtime_label.value
        self._engine_reports.follow_camera_id(model, runtime)
        reserved = 0 if self._memory_budget is None else sum(self._memory_budget.snapshot().values())
        self._engine_reports.publish_health(
            EngineReading(
                model=model,
                failure="" if self._recovery is None else self._recovery.complaint,
                reloads=self._reloads,
                changes=(),
                is_working=self._is_pairing,
                counts=self._counts(),
                latency=self._latency.summary(),
                last_error=self._last_error,
                ladder=LadderState(),
                requested_runtime=runtime,
                output_qos_incompatibility="",
            ),
            statuses,
            None if self._reception is None else self._reception.reading(),
            self._memory.read(reserved),
        )


class _MessageProcessor(MatchingProcessor[_Found]):
    def __init__(self, network: MatchingPipeline, matcher: DenseMatcher) -> None:
        super().__init__(network)
        self._matcher = matcher

    def warm_up_thread(self) -> None:
        self._matcher.warm_up_thread()

    def process(self, frame: _Found, received_ns: int | None = None, /) -> MatchedFeatures:
        return self._matcher.process(
            PlacedImage(frame.frame, place_recognition_from_message(frame.places)), received_ns
        )
