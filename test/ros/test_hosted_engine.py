"""An engine of a node, without the node: what becomes of the old one when a new one takes its place."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from model_identities import model_identity

from gps_denied_inference.core.settings import settings_from_mapping
from gps_denied_inference.ros.hosted_engine import EngineHost, HostedEngine
from gps_denied_inference.ros.matcher_node import MatcherNode
from gps_denied_inference.ros.worker_node import WorkerNode


class Network:
    """As far as an engine knows a pipeline."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.model = model_identity()
        self.failure = failure
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True
        if self.failure is not None:
            raise self.failure


def test_backend_that_cannot_release_the_old_engine_leaves_the_new_one_in_its_place() -> None:
    errors: list[str] = []
    node: Any = SimpleNamespace(get_logger=lambda: SimpleNamespace(error=errors.append))
    parameters: Any = SimpleNamespace(number=lambda _name: 1.0)
    nothing: Any = None
    host = EngineHost(node, parameters, nothing, nothing, nothing, nothing, nothing, nothing)
    engine: Any = HostedEngine("primary", "", host)
    old, new, in_work = Network(RuntimeError("CUDA error")), Network(), []
    engine._pipeline, engine._worker = old, SimpleNamespace(swap=lambda network, _timeout_s: in_work.append(network))
    settings = settings_from_mapping({})
    engine.install(new, settings)
    assert in_work == [new] and engine.pipeline is new and engine.settings is settings
    assert old.is_closed and not new.is_closed
    assert "CUDA error" in errors[0]


@pytest.mark.parametrize("is_hung", [False, True])
@pytest.mark.parametrize("rung", [None, "its own engine", "another engine"])
def test_engine_that_does_not_return_is_left_to_its_thread_and_the_others_are_given_back(
    is_hung: bool, rung: str | None
) -> None:
    """Closing waits for the call in work: the node would stand still with it."""
    nothing: Any = None
    host = EngineHost(nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing)
    engine: Any = HostedEngine("primary", "", host)
    top, rungs = Network(), Network()
    engine._pipeline, engine._worker = top, SimpleNamespace(abandon=lambda: is_hung)
    if rung is not None:
        engine._degradation = SimpleNamespace(has_top_engine=rung == "its own engine", close=rungs.close)
    engine.release()
    is_rung_in_work = rung == "another engine"
    assert top.is_closed == (not is_hung or is_rung_in_work)
    assert rungs.is_closed == (rung is not None and not (is_hung and is_rung_in_work))
    assert engine.pipeline is None
    engine.release()


@pytest.mark.parametrize("is_hung", [False, True])
def test_matcher_that_does_not_return_is_left_to_its_thread(is_hung: bool) -> None:
    network = Network()
    node: Any = MagicMock(_network=network, _worker=SimpleNamespace(abandon=lambda: is_hung), _inputs=[])
    # For super(), which asks whether it is one.
    node.__class__ = MatcherNode
    node._unload = lambda: MatcherNode._unload(node)
    WorkerNode.release(node)
    assert network.is_closed == (not is_hung)
    assert node._network is None
