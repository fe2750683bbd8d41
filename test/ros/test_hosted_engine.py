"""An engine of a node, without the node: what becomes of the old one when a new one takes its place."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from model_identities import model_identity

from gps_denied_inference.core.settings import settings_from_mapping
from gps_denied_inference.ros.hosted_engine import EngineHost, HostedEngine


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
