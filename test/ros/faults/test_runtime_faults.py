"""A network that fails in every way it can."""

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fault_bench import FaultBench

import gps_denied_inference.srv as services
from gps_denied_inference.core.health import Level

_GROUP = "The network"


@pytest.fixture(scope="module")
def bench(make_bench: Callable[[str, str], FaultBench]) -> FaultBench:
    bench = make_bench("/runtime", _GROUP)
    bench.start("infer_deadline_ms:=500.0")
    bench.bring_up()
    return bench


def _load(bench: FaultBench, script: str) -> Any:
    """Put an engine in the present one's place."""
    path = bench.folder / f"engine_{zlib.crc32(script.encode()):08x}.yaml"
    path.write_text(f"{script}\n")
    request = services.LoadEngine.Request(checkpoint=str(path), allow_other_space=True)
    return bench.client.call(services.LoadEngine, f"{bench.name}/load_engine", request)


def _load_well(bench: FaultBench, script: str = "latency_ms: 2.0") -> None:
    answer = _load(bench, script)
    assert answer.success, answer.message


def test_network_that_fails_once_costs_one_frame(bench: FaultBench) -> None:
    with bench.fault("it raises at one frame", "ERROR; the frame counts as failed, the next one is worked on") as fault:
        bench.works()
        before = bench.balanced()
        _load_well(bench, "faults:\n  - {frame: 0, kind: inference_error}")
        bench.send()
        fault.observe("inference", Level.ERROR, "failed", "scripted: frame 0 fails")
        fault.recovered("by itself, with the next frame", task="inference")
        after = bench.balanced()
        failed = {drop.reason: drop.count for drop in after.dropped}["failed"]
        assert failed == {drop.reason: drop.count for drop in before.dropped}["failed"] + 1
        assert after.published > before.published


def test_network_that_always_fails_is_told_until_another_takes_its_place(bench: FaultBench) -> None:
    with bench.fault("it raises at every frame", "ERROR as long as frames come; the node works on") as fault:
        _load_well(bench, "faults:\n  - {every: 1, kind: inference_error}")
        fault.observe("inference", Level.ERROR, "failed", "cleanup and configure", while_sending=True)
        seen = len(bench.features)
        first = len(bench.diagnostics)
        bench.wait(lambda: len(bench.diagnostics) > first + 5, "more reports", while_sending=True)
        assert bench.latest("inference", first).level == bytes([Level.ERROR])
        assert len(bench.features) == seen
        _load_well(bench)
        fault.recovered("`~/load_engine` with another engine", task="inference")


def test_outputs_with_nan_never_leave_the_node(bench: FaultBench) -> None:
    with bench.fault("it returns NaN", "ERROR; nothing that is not finite is published") as fault:
        _load_well(bench, "faults:\n  - {every: 2, kind: nan}")
        fault.observe("inference", Level.ERROR, "NaN or Inf", "withheld", while_sending=True)
        bench.works()
        assert all(np.isfinite(message.values).all() for message in bench.features)
        _load_well(bench)
        fault.recovered("by itself, with the next finite output", task="inference")


def test_outputs_of_a_wrong_shape_count_as_failed(bench: FaultBench) -> None:
    with bench.fault("it returns the wrong shape", "ERROR that names both shapes; nothing is published") as fault:
        _load_well(bench, "faults:\n  - {every: 2, kind: wrong_shape}")
        fault.observe("inference", Level.ERROR, "shape", while_sending=True)
        bench.works()
        assert len({len(message.values) for message in bench.features}) == 1
        _load_well(bench)
        fault.recovered("by itself, with the next right output", task="inference")


def test_network_out_of_memory_costs_the_frame(bench: FaultBench) -> None:
    with bench.fault("it runs out of memory", "ERROR that says so; the next frame is worked on") as fault:
        _load_well(bench, "faults:\n  - {every: 2, kind: out_of_memory}")
        fault.observe("inference", Level.ERROR, "out of memory", while_sending=True)
        bench.works()
        _load_well(bench)
        fault.recovered("by itself, when there is memory again", task="inference")


@pytest.mark.parametrize(
    ("what", "script", "word"),
    [
        ("an engine that is to take its place runs out of memory", "load_fault: out_of_memory", "out of memory"),
        ("an engine that is to take its place cannot be read", "load_fault: deserialize_error", "cannot be loaded"),
        ("an engine that is to take its place is no engine", "latency_ms: {", "YAML"),
    ],
)
def test_engine_that_cannot_take_over_leaves_the_present_one(
    bench: FaultBench, what: str, script: str, word: str
) -> None:
    with bench.fault(what, "refused with the cause; the present engine works on") as fault:
        bench.works()
        answer = _load(bench, script)
        assert not answer.success and word in answer.message and "the present engine stays" in answer.message
        fault.note(f"answer: {answer.message.replace(str(bench.folder), 'ENGINES')}")
        bench.works()
        fault.recovered("none needed: the present engine was never out of work")


def test_hung_network_is_loaded_again_and_hung_again_ends_the_process(bench: FaultBench) -> None:
    hang = "faults:\n  - {frame: 1, kind: hang, hang_ms: 60000}"
    with bench.fault("it hangs", "abandoned after infer_deadline_ms; ERROR; the engine is loaded again") as fault:
        _load_well(bench, hang)
        before = bench.balanced()
        seen = len(bench.features)
        bench.send()
        bench.wait(lambda: len(bench.features) > seen, "a descriptor of the first frame, before the one that hangs")
        bench.send()
        fault.observe("engine", Level.ERROR, "has not returned for", "infer_deadline_ms")
        bench.wait(lambda: bench.health[-1].engine_reloads == 1, "the reload")
        seen = len(bench.features)
        bench.send()
        bench.wait(lambda: len(bench.features) > seen, "a descriptor of the engine that was loaded again")
        after = bench.balanced()
        assert after.received == before.received + 3
        fault.recovered("by itself: a new worker with the engine loaded again")
    with bench.fault(
        "it hangs again after that", "ERROR; the process ends with status 3 for its supervisor", ends_process=True
    ) as fault:
        bench.send()
        fault.observe("engine", Level.ERROR, "loaded again once already")
        assert bench.node.process.wait(30) == 3
        fault.note_log("supervisor starts it anew")
        fault.recovered("started again by its supervisor (launch argument `respawn`)")
