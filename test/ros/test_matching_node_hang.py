"""A network that matches and does not return: the refinement node's; the matcher node's is watched by the same code."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from node_bench import NodeBench, node_bench
from node_feeds import CASES, Feed
from node_harness import NodeProcess, wait_for
from node_parameters import fake_parameters

import gps_denied_inference.msg as messages

_CASE = CASES["refinement_node"]
_HANGS = "latency_ms: 1.0\nfaults:\n  - {frame: 8, kind: hang, hang_ms: 8000}"
"""Of each load: the first two calls warm the network, the others are images (of which the first takes a second)."""


@pytest.fixture
def bench(domain_id: int, tmp_path: Path) -> Iterator[NodeBench]:
    with node_bench(domain_id, tmp_path) as bench:
        yield bench


def _started(bench: NodeBench) -> tuple[NodeProcess, Feed]:
    parameters = _CASE.parameters(bench.folder)
    fake_parameters(bench.folder, _HANGS)
    node = bench.start(_CASE.node[1:], *parameters, "infer_deadline_ms:=3000.0", "diagnostics_rate_hz:=10.0")
    for transition in ("configure", "activate"):
        assert bench.client.change_state(transition, _CASE.node)
    assert _CASE.feed is not None
    feed = _CASE.feed(bench)
    feed.await_inputs(_CASE.node)
    return node, feed


def test_hung_network_is_told_loaded_again_and_works_on(bench: NodeBench) -> None:
    node, feed = _started(bench)
    health = bench.client.collect(messages.EngineHealth, "/refinement/engine_health")
    feed.await_answer(1)
    stamps = count(1000)

    def has_hung() -> bool:
        feed.send(next(stamps))
        time.sleep(0.4)
        return "has not returned for" in node.log

    wait_for(has_hung, "the hang")
    engine = f"{_CASE.node}: engine"

    def is_told() -> bool:
        return any(told.level == b"\x02" and "has not returned for" in told.message for told in bench.statuses(engine))

    wait_for(is_told, "the hang on /diagnostics")
    node.wait_for_log("was loaded again and works")
    wait_for(lambda: health[-1].engine_reloads == 1, "the reload in engine_health")
    status = bench.wait_for_status(engine, b"\x01", "did not pass the engine gate")
    assert {item.key: item.value for item in status.values}["reloads_after_hang"] == "1"
    feed.await_answer(100_000)
    counts = bench.settled(f"{_CASE.node}: {_CASE.task}", feed.sent)
    assert counts["dropped_failed"] == 1
    assert feed.sent == counts["published"] + sum(n for name, n in counts.items() if name.startswith("dropped_"))
    assert bench.client.change_state("deactivate", _CASE.node)
    assert bench.client.change_state("cleanup", _CASE.node)
    assert node.end() == 0


def test_second_hang_ends_the_process_with_a_status_of_its_own(bench: NodeBench) -> None:
    node, feed = _started(bench)
    stamps = count(1)

    def has_ended() -> bool:
        feed.send(next(stamps))
        return node.process.poll() is not None

    wait_for(has_ended, "the end of the process")
    assert node.process.returncode == 3
    assert "loaded again once already" in node.log
    last = bench.statuses(f"{_CASE.node}: engine")[-1]
    assert "loaded again once already" in last.message, "the last report says why"
