"""Asks for a better order of images' candidates, newest image first, and hands it to the matcher."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions

import gps_denied_inference.msg as messages
import gps_denied_inference.srv as services
from gps_denied_inference.core.contracts import DropReason
from gps_denied_inference.core.errors import ReplayError
from gps_denied_inference.core.evaluation import RefinementLog, RefinementTopics
from gps_denied_inference.core.interface import stamp_ns_from_message
from gps_denied_inference.core.pipeline import FrameCounts

__all__ = ["CandidateRefinement"]

_RELIABLE = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
_KEPT = 16
"""Images that wait to be asked about."""


class CandidateRefinement:
    """One request is under way at a time; when its answer comes the newest image of which all is there is next.

    Images that are passed over are never asked about. A context manager with a thread of its own.

    Args:
        topics: where the nodes are.
        candidates: how many of an image's candidates are ranked.
    """

    def __init__(self, topics: RefinementTopics, *, candidates: int) -> None:
        self.log = RefinementLog()
        self._candidates_count = candidates
        self._waiting: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self._asked_ns = -1
        self._is_asking = False
        self._counters: dict[str, tuple[int, FrameCounts]] = {}
        self._topics = topics
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node("gdi_refinement", context=self._context)
        self._service: Any = self._node.create_client(services.Rerank, topics.rerank)
        self._reranked: Any = self._node.create_publisher(messages.PlaceCandidates, topics.reranked, _RELIABLE)
        listen = self._node.create_subscription
        self._inputs: list[Any] = [
            listen(messages.LocalFeatures, topics.features, lambda m: self._on_message("features", m), _RELIABLE),
            listen(messages.PlaceCandidates, topics.candidates, lambda m: self._on_message("places", m), _RELIABLE),
            listen(messages.FeatureMatches, topics.matches, self._on_matches, _RELIABLE),
        ]
        listen(messages.EngineHealth, topics.features_health, self._on_health, _RELIABLE)
        listen(DiagnosticArray, "/diagnostics", self._on_diagnostics, _RELIABLE)
        self._failure: Exception | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._spin, name="refinement", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def connect(self, timeout_s: float) -> None:
        """Wait until every node is found.

        Raises:
            ReplayError: one was not, within `timeout_s` seconds.
        """
        is_connected = self._wait_until(
            lambda: (
                self._service.service_is_ready()
                and self._reranked.get_subscription_count() > 0
                and all(self._node.count_publishers(item.topic_name) for item in self._inputs)
                and all(name in self._counters for name in (self._topics.features_health, *self._topics.tasks))
            ),
            timeout_s,
        )
        if not is_connected:
            raise ReplayError(
                f"of the nodes that refine positions only {sorted(self._counters)} were heard within {timeout_s:g} s"
            )

    def settle(self, timeout_s: float) -> None:
        """Wait until what was begun is done, and every node has counted it; or until the time is over.

        Raises:
            ReplayError: the thread has failed.
        """
        # What is missing when the time is over is missing in the log, and the counters that came last are reported.
        self._wait_until(lambda: not self._is_asking and self._next() is None, timeout_s)
        asked = {stamp for stamp, tiles in self.log.ranked.items() if tiles}
        self._wait_until(lambda: asked <= self.log.matched, timeout_s / 2)
        now_ns = time.monotonic_ns()
        self._wait_until(lambda: all(heard > now_ns for heard, _ in list(self._counters.values())), timeout_s / 2)

    def counts(self) -> Mapping[str, FrameCounts]:
        """Return the counters that were heard last, by topic of the health or name of the task."""
        return {name: counts for name, (_, counts) in list(self._counters.items())}

    def _wait_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if self._failure is not None:
                raise ReplayError(f"refinement stopped: {self._failure}") from self._failure
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    # On the thread.

    def _spin(self) -> None:
        executor = SingleThreadedExecutor(context=self._context)
        executor.add_node(self._node)
        while not self._stop.is_set():
            try:
                executor.spin_once(timeout_sec=0.1)
            except Exception as error:  # kept for the thread that waits: this one has nobody to tell
                self._failure = error
                break
        executor.remove_node(self._node)
        executor.shutdown()

    def _on_message(self, kind: str, message: Any) -> None:
        stamp_ns = stamp_ns_from_message(message)
        (self.log.featured if kind == "features" else self.log.candidates).add(stamp_ns)
        self._waiting.setdefault(stamp_ns, {})[kind] = message
        while len(self._waiting) > _KEPT:
            self._waiting.popitem(last=False)
        self._ask()

    def _next(self) -> int | None:
        """The newest image of which features and candidates are there, unless it, or a newer one, was asked about."""
        ready = [stamp for stamp, found in list(self._waiting.items()) if len(found) == 2 and stamp > self._asked_ns]
        return max(ready, default=None)

    def _ask(self) -> None:
        stamp_ns = None if self._is_asking else self._next()
        if stamp_ns is None:
            return
        self._is_asking = True
        found = self._waiting.pop(stamp_ns)
        self._asked_ns = stamp_ns
        places = found["places"]
        tiles = [entry.tile for entry in places.candidates[: self._candidates_count]]
        request = services.Rerank.Request(features=found["features"], tiles=tiles, index_sha256=places.index_sha256)
        future = self._service.call_async(request)
        future.add_done_callback(lambda done: self._on_answer(stamp_ns, places, done))

    def _on_answer(self, stamp_ns: int, places: Any, done: Any) -> None:
        self._is_asking = False
        answer = done.result()
        rows = tuple(int(entry.tile) for entry in answer.tiles) if answer.success else ()
        self.log.ranked[stamp_ns] = rows
        if rows:
            by_tile = {int(entry.tile): entry for entry in places.candidates}
            places.candidates = [by_tile[row] for row in rows]
            self._reranked.publish(places)
        else:
            self.log.refusals[stamp_ns] = str(answer.message)
        self._ask()

    def _on_matches(self, message: Any) -> None:
        self.log.matched.add(stamp_ns_from_message(message))

    def _on_health(self, message: Any) -> None:
        dropped = {DropReason(entry.reason): int(entry.count) for entry in message.dropped}
        counts = FrameCounts(int(message.received), int(message.published), dropped, int(message.pending))
        self._counters[self._topics.features_health] = (time.monotonic_ns(), counts)

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            if status.name in self._topics.tasks:
                values = {entry.key: entry.value for entry in status.values}
                dropped = {reason: int(values[f"dropped_{reason.value}"]) for reason in DropReason}
                counts = FrameCounts(int(values["received"]), int(values["published"]), dropped, int(values["pending"]))
                self._counters[status.name] = (time.monotonic_ns(), counts)
