"""The service that orders candidates by how well their tiles match an image."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future

import gps_denied_inference.msg as messages
import gps_denied_inference.srv as services
from gps_denied_inference.core.errors import GpsDeniedInferenceError, InferenceError
from gps_denied_inference.core.index import RankedTile, TileIndex, TileReranker
from gps_denied_inference.core.interface import sent_features_from_message

__all__ = ["CandidateReranking"]

_DEFAULT_KEEP = 3
_MOST_TILES = 100


class CandidateReranking:
    """Answers `~/rerank`, one request at a time, on a thread of its own: descriptors go on being looked up.

    Args:
        node: owns the service.
        present: the index and what ranks its tiles; None while it is not loaded.
    """

    def __init__(self, node: Node, *, present: Callable[[], tuple[TileIndex | None, TileReranker | None]]) -> None:
        self._node = node
        self._present = present
        self._is_ranking = False
        # Reentrant: the executor comes back to the waiting answer when the thread is done.
        group = ReentrantCallbackGroup()
        node.create_service(services.Rerank, "~/rerank", self._answer, callback_group=group)

    async def _answer(self, request: Any, response: Any) -> Any:
        try:
            ranked = await self._ranked(request)
            response.success = True
            response.message = f"{len(request.tiles)} candidates were matched, the best {len(ranked)} are returned"
            response.tiles = [_message(entry) for entry in ranked]
        except GpsDeniedInferenceError as error:
            response.success = False
            response.message = str(error)
            self._node.get_logger().error(f"rerank refused: {error}", throttle_duration_sec=5.0)
        except Exception as error:  # whatever OpenCV throws: the caller is told, the node works on
            response.success = False
            response.message = f"{type(error).__name__}: {error}"
            self._node.get_logger().error(f"rerank failed: {response.message}")
        return response

    async def _ranked(self, request: Any) -> list[RankedTile]:
        index, reranker = self._present()
        if index is None:
            raise InferenceError("no index is loaded; configure the node")
        if reranker is None:
            raise InferenceError(
                "the tiles' local features are not loaded; build them with 'gdi index build … --local-model NAME' and "
                "set tile_features"
            )
        if request.index_sha256 and request.index_sha256 != index.sha256:
            raise InferenceError(
                f"the candidates are of the index {request.index_sha256}, the node has {index.sha256}; ask for new ones"
            )
        if not 1 <= len(request.tiles) <= _MOST_TILES:
            raise InferenceError(f"{len(request.tiles)} tiles were given; expected 1 to {_MOST_TILES}")
        if self._is_ranking:
            raise InferenceError("one request at a time; wait for the answer to the last")
        done: Any = Future()

        def work() -> None:
            try:
                image = sent_features_from_message(request.features)
                tiles = [int(tile) for tile in request.tiles]
                keep = int(request.keep) or _DEFAULT_KEEP
                done.set_result(reranker.rank(image.features, image.space_id, tiles, keep))
            except BaseException as error:
                done.set_result(error)
            if self._node.executor is not None:
                self._node.executor.wake()  # or the answer waits for the next thing that happens

        self._is_ranking = True
        try:
            threading.Thread(target=work, name="rerank", daemon=True).start()
            result = await done
        finally:
            self._is_ranking = False
        if isinstance(result, BaseException):
            raise result
        return list(result)


def _message(entry: RankedTile) -> Any:
    return messages.RankedTile(
        tile=entry.tile,
        match_count=entry.match_count,
        inlier_count=entry.inlier_count,
        median_residual_px=entry.median_residual_px,
        x_m=entry.x_m,
        y_m=entry.y_m,
    )
