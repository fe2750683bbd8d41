"""The lifecycle node that looks global descriptors up in a map's index."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gps_denied_inference.msg as messages
from gps_denied_inference.core.contracts import DropReason, PlaceRecognition, StageTimings
from gps_denied_inference.core.errors import SettingsError
from gps_denied_inference.core.health import Level, TaskStatus
from gps_denied_inference.core.index import (
    PlaceRecognizer,
    TileIndex,
    TileReranker,
    load_tile_features,
    load_tile_index,
)
from gps_denied_inference.core.interface import described_frame_from_message, place_candidates_message
from gps_denied_inference.core.pipeline import Processor
from gps_denied_inference.core.settings import SettingField
from gps_denied_inference.ros.candidate_reranking import CandidateReranking
from gps_denied_inference.ros.parameters import NodeParameters
from gps_denied_inference.ros.qos import LATCHED
from gps_denied_inference.ros.worker_node import WorkerNode
from gps_denied_inference.ros.worker_parameters import WORKER_FIELDS

__all__ = ["PLACE_RECOGNITION_FIELDS", "PlaceRecognitionNode"]

PLACE_RECOGNITION_FIELDS: tuple[SettingField, ...] = (
    SettingField("index", "", "Path of the map's index, which `gdi index build` wrote."),
    SettingField("top_k", 10, "Candidates of an image, most similar first.", minimum=1, maximum=1000, is_dynamic=True),
    SettingField(
        "expected_space_id",
        "",
        "Space that the index must live in: that of the inference node's model_info. Empty: any; descriptors of "
        "another space than the index's are dropped all the same.",
    ),
    SettingField(
        "expected_dimension",
        0,
        "Numbers in a descriptor of the index; 0: any.",
        minimum=0,
        maximum=1048576,
    ),
    SettingField(
        "tile_features",
        "",
        "Path of the local features of the index's tiles (`gdi index build --local-model`), for the service ~/rerank; "
        "empty: it refuses.",
    ),
    SettingField(
        "inlier_threshold_px",
        3.0,
        "Largest noise of a true match when candidates are ranked again, pixels of a tile's picture.",
        minimum=0.1,
        maximum=100.0,
        is_dynamic=True,
    ),
    *WORKER_FIELDS,
)


class PlaceRecognitionNode(WorkerNode[Any, PlaceRecognition]):
    """Subscribes `global_descriptor` (and `model_info`) and publishes `place_candidates` and `/diagnostics`.

    The service `~/rerank` orders candidates by how well their tiles match an image.

    Args:
        name: of the node, unless remapped.

    Raises:
        SettingsError: a parameter override is wrong.
    """

    def __init__(self, name: str = "place_recognition_node", **node_options: Any) -> None:
        self._index: TileIndex | None = None
        self._announced_space = ""
        self._reranker: TileReranker | None = None
        super().__init__(name, task="recognition", resource_task="index", **node_options)
        self._reranking = CandidateReranking(self, present=lambda: (self._index, self._reranker))

    def _declare_parameters(self) -> NodeParameters:
        return NodeParameters(self, fields=PLACE_RECOGNITION_FIELDS)

    def _load(self) -> Processor[Any, PlaceRecognition]:
        parameters = self._node_parameters
        path = parameters.text("index")
        if not path:
            raise SettingsError("index", path, "the path of a file that 'gdi index build' wrote")
        index = load_tile_index(Path(path).expanduser())
        expected = parameters.text("expected_space_id")
        if expected and index.space_id != expected:
            raise SettingsError(
                "expected_space_id", expected, f"'{index.space_id}', in which {path} lives; or embed the map again"
            )
        dimension = parameters.count("expected_dimension")
        if dimension and index.dimension != dimension:
            raise SettingsError(
                "expected_dimension", dimension, f"{index.dimension}, which {path} holds; or embed the map again"
            )
        self._reranker = self._loaded_reranker(index)
        self._index, self._announced_space = index, ""
        self.get_logger().info(f"{len(index)} tiles of {index.dimension} numbers, space {index.space_id}")
        return _MessageProcessor(PlaceRecognizer(index, top_k=lambda: parameters.count("top_k")))

    def _loaded_reranker(self, index: TileIndex) -> TileReranker | None:
        path = self._node_parameters.text("tile_features")
        if not path:
            return None
        features = load_tile_features(Path(path).expanduser(), index.sha256)
        return TileReranker(index, features, threshold_px=lambda: self._node_parameters.number("inlier_threshold_px"))

    def _unload(self) -> None:
        self._index = self._reranker = None

    def _subscribe(self) -> None:
        self._listen(messages.GlobalDescriptor, "global_descriptor", self._submit)
        self._listen(messages.ModelInfo, "model_info", self._on_model_info, LATCHED)

    @property
    def _output(self) -> tuple[Any, str]:
        return messages.PlaceCandidates, "place_candidates"

    def _message(self, result: PlaceRecognition, dropped: Mapping[DropReason, int]) -> Any:
        return place_candidates_message(self._factory, result, dropped_since_last=dropped)

    def _timings(self, result: PlaceRecognition) -> StageTimings:
        return result.timings

    def _on_model_info(self, message: Any) -> None:
        if message.output_kind == "global_descriptor":
            self._announced_space = str(message.space_id)

    def _resource_status(self) -> TaskStatus:
        index = self._index
        if self._configure_error:
            return TaskStatus("index", Level.ERROR, self._configure_error)
        if index is None:
            return TaskStatus("index", Level.OK, "no index is loaded; configure the node")
        values = {
            "tiles": str(len(index)),
            "dimension": str(index.dimension),
            "space_id": index.space_id,
            "announced_space_id": self._announced_space,
            "sha256": index.sha256,
            "crs": index.details.crs,
            "maps": ", ".join(name for name, _ in index.details.maps),
        }
        if self._announced_space and self._announced_space != index.space_id:
            message = f"the index lives in space '{index.space_id}', the inference node in '{self._announced_space}'"
            return TaskStatus("index", Level.ERROR, f"{message}; embed the map again or change the engine", values)
        return TaskStatus("index", Level.OK, f"{len(index)} tiles", values)


class _MessageProcessor:
    """Reads the message on the worker's thread: one that is not valid is counted like any that cannot be used."""

    def __init__(self, recognizer: PlaceRecognizer) -> None:
        self._recognizer = recognizer

    def warm_up_thread(self) -> None:
        self._recognizer.warm_up_thread()

    def process(self, frame: Any, received_ns: int | None = None, /) -> PlaceRecognition:
        return self._recognizer.process(described_frame_from_message(frame), received_ns)
