"""A thermal source that dies or lies: a state that is not known is never OK, and never a throttle."""

from collections.abc import Callable

import pytest
from fault_bench import FaultBench

from gps_denied_inference.core.health import Level

_GROUP = "The thermal source"
_STEP_S = 3.0
_WELL = "cpu_temperature_c: 61, gpu_temperature_c: 62, clock_mhz: 1020"
_FAULTS = (
    ("it dies", "telemetry: false, cause: the sensor bus does not answer", "the sensor bus does not answer"),
    ("it tells NaN", "cpu_temperature_c: .nan, gpu_temperature_c: .nan", "NaN"),
    ("it tells −256 °C", "cpu_temperature_c: -256, gpu_temperature_c: -256", "temperature -256 °C"),
    ("it tells 4000 °C", "cpu_temperature_c: 4000, gpu_temperature_c: 4000", "temperature 4000 °C"),
)


@pytest.fixture
def bench(make_bench: Callable[[str, str], FaultBench]) -> FaultBench:
    return make_bench("/thermal", _GROUP)


def _bring_up(bench: FaultBench, steps: list[str], *parameters: str) -> None:
    path = bench.folder / "timeline.yaml"
    # Twice each: between two steps the temperatures run in a straight line.
    times = (
        f"  - {{at_s: {number * _STEP_S + offset_s:g}, {step}}}\n"
        for number, step in enumerate(steps)
        for offset_s in (0.0, _STEP_S - 0.1)
    )
    path.write_text("steps:\n" + "".join(times))
    bench.start("thermal_sources:=['scripted']", f"thermal_timeline:={path}", "thermal_poll_hz:=10.0", *parameters)
    bench.bring_up()


def test_source_that_dies_or_lies_is_unknown_until_it_tells_the_truth(bench: FaultBench) -> None:
    # One node and one timeline for all: well, broken, well, broken, ...
    steps = [_WELL]
    for _, broken, _ in _FAULTS:
        steps += [broken, _WELL]
    _bring_up(bench, steps)
    for what, _, word in _FAULTS:
        with bench.fault(what, "WARN, unknown; never OK, never a throttle") as fault:
            fault.observe("thermal", Level.WARN, "unknown", word)
            assert not bench.features or not bench.features[-1].thermal_throttle_active
            fault.recovered("by itself, with the next true reading", task="thermal")
    assert bench.node.end() == 0


def test_readings_that_stand_still_are_told(bench: FaultBench) -> None:
    _bring_up(bench, [_WELL], "thermal_stuck_after_s:=0.5")
    with bench.fault("it tells the same for ever", "WARN after thermal_stuck_after_s") as fault:
        fault.observe("thermal", Level.WARN, "may be stuck")
        assert bench.client.set_parameter("thermal_stuck_after_s", 0.0, bench.name)[0]
        fault.recovered("with readings that move (or thermal_stuck_after_s: 0)", task="thermal")
    assert bench.node.end() == 0
