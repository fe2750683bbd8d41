"""Candidates are ranked again for the newest image first, one request at a time; nothing is asked twice."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from node_harness import Client, client_in_domain, wait_for

import gps_denied_inference.msg as messages
import gps_denied_inference.srv as services
from gps_denied_inference.core.contracts import DropReason
from gps_denied_inference.core.errors import ReplayError
from gps_denied_inference.core.evaluation import RefinementTopics
from gps_denied_inference.core.interface import stamp_ns_from_message
from gps_denied_inference.ros.candidate_refinement import CandidateRefinement
from gps_denied_inference.ros.message_factory import RclpyMessageFactory

_TASK = "/matcher_node: matching"
_TOPICS = RefinementTopics(
    features="/features/local_features",
    features_health="/features/engine_health",
    candidates="/place_candidates",
    rerank="/place_recognition_node/rerank",
    reranked="/reranked_candidates",
    matches="/feature_matches",
    tasks=(_TASK,),
)


class StandIn:
    """The other nodes: answers requests only when told to, and says what it was asked."""

    def __init__(self, client: Client) -> None:
        self.node = client.node
        self.asked: list[Any] = []
        self.may_answer = threading.Event()
        self.refuses = False
        self.reranked = client.collect(messages.PlaceCandidates, _TOPICS.reranked)
        self._features = self.node.create_publisher(messages.LocalFeatures, _TOPICS.features, 100)
        self._places = self.node.create_publisher(messages.PlaceCandidates, _TOPICS.candidates, 100)
        self._matches = self.node.create_publisher(messages.FeatureMatches, _TOPICS.matches, 100)
        self._health = self.node.create_publisher(messages.EngineHealth, _TOPICS.features_health, 100)
        self._diagnostics = self.node.create_publisher(DiagnosticArray, "/diagnostics", 100)
        self.node.create_service(services.Rerank, _TOPICS.rerank, self._answer)
        self.node.create_timer(0.05, self._report)

    def image(self, stamp_ns: int) -> None:
        header = RclpyMessageFactory().header(stamp_ns, "camera")
        self._features.publish(messages.LocalFeatures(header=header, is_valid=True))
        entries = [messages.PlaceCandidate(tile=tile, similarity=1.0 - tile / 10) for tile in (4, 5, 6, 7)]
        self._places.publish(messages.PlaceCandidates(header=header, index_sha256="ab" * 32, candidates=entries))

    def _answer(self, request: Any, response: Any) -> Any:
        self.asked.append(request)
        assert self.may_answer.wait(60.0)
        response.success = not self.refuses
        if response.success:
            response.tiles = [messages.RankedTile(tile=tile) for tile in (6, 4)]
        else:
            response.message = "no such index"
        return response

    def matched(self, stamp_ns: int) -> None:
        self._matches.publish(messages.FeatureMatches(header=RclpyMessageFactory().header(stamp_ns, "camera")))

    def _report(self) -> None:
        dropped = [messages.DropCount(reason=reason.value, count=0) for reason in DropReason]
        self._health.publish(messages.EngineHealth(received=9, published=8, pending=1, dropped=dropped))
        values = {
            "received": 5,
            "published": 3,
            "pending": 0,
            **{f"dropped_{reason.value}": 0 for reason in DropReason},
        }
        values["dropped_unpaired"] = 2
        entries = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        self._diagnostics.publish(DiagnosticArray(status=[DiagnosticStatus(name=_TASK, values=entries)]))


@pytest.fixture
def stand_in(domain_id: int) -> Iterator[StandIn]:
    with patch.dict(os.environ, ROS_DOMAIN_ID=str(domain_id)), client_in_domain(domain_id) as client:
        stand_in = StandIn(client)
        yield stand_in
        stand_in.may_answer.set()


def test_newest_image_is_ranked_next_and_its_new_order_handed_on(stand_in: StandIn) -> None:
    with CandidateRefinement(_TOPICS, candidates=3) as refinement:
        refinement.connect(60.0)
        stand_in.image(10)
        wait_for(lambda: stand_in.asked, "the first request")
        # The stand-in answers on its only thread, which sends nothing meanwhile: these come while the answer is due.
        for stamp_ns in (20, 30, 40):
            stand_in.image(stamp_ns)
        wait_for(lambda: {20, 30, 40} <= refinement.log.candidates & refinement.log.featured, "the images")
        stand_in.may_answer.set()
        wait_for(lambda: len(stand_in.reranked) == 2, "two new orders")
        assert [stamp_ns_from_message(request.features) for request in stand_in.asked] == [10, 40]
        assert {tuple(request.tiles) for request in stand_in.asked} == {(4, 5, 6)}, "of the first three alone"
        for message, stamp_ns in zip(stand_in.reranked, (10, 40), strict=True):
            assert stamp_ns_from_message(message) == stamp_ns and message.index_sha256 == "ab" * 32
            assert [entry.tile for entry in message.candidates] == [6, 4]
        stand_in.matched(10)
        stand_in.matched(40)
        refinement.settle(30.0)
        assert refinement.log.ranked == {10: (6, 4), 40: (6, 4)} and refinement.log.matched == {10, 40}
        counts = refinement.counts()
        assert (counts[_TOPICS.features_health].received, counts[_TASK].dropped[DropReason.UNPAIRED]) == (9, 2)


def test_refused_request_is_remembered_and_handed_to_nobody(stand_in: StandIn) -> None:
    stand_in.refuses = True
    stand_in.may_answer.set()
    with CandidateRefinement(_TOPICS, candidates=3) as refinement:
        refinement.connect(60.0)
        stand_in.image(10)
        wait_for(lambda: refinement.log.refusals, "the refusal")
        refinement.settle(30.0)
        assert refinement.log.ranked == {10: ()} and refinement.log.refusals == {10: "no such index"}
    assert not stand_in.reranked


def test_nodes_that_are_not_there_are_named(domain_id: int) -> None:
    with (
        patch.dict(os.environ, ROS_DOMAIN_ID=str(domain_id)),
        CandidateRefinement(_TOPICS, candidates=3) as refinement,
        pytest.raises(ReplayError, match=r"only \[\] were heard within 0.2 s"),
    ):
        refinement.connect(0.2)
