"""What takes minutes: soaks, overload, many cycles, many kills."""

import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from node_harness import Client, NodeLauncher, NodeProcess, image_message, wait_for
from node_parameters import REAL_ENGINE, fake_parameters
from numpy.typing import NDArray
from overload_diagnostics import assert_overload_is_over, assert_overload_was_told
from rclpy.qos import QoSProfile, ReliabilityPolicy

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

_KILLS = 200
_CYCLES = 2_000
_OVERLOAD_S = 10.0
_UNREST = 1.5
"""p95 of the network's own time over its median, in the best of three runs: 1.2 on a quiet machine. Only well above
that can somebody else's work, and not the node, have made the frames old."""

_PIXELS = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)

_SMALL = _PIXELS[:48, :64]
"""So that overload is the network's, not this process's, which shares the processor with the node."""


def _send(publisher: Any, frames: int, period_s: float, pixels_hwc: NDArray[np.uint8] = _PIXELS) -> None:
    for index in range(frames):
        publisher.publish(image_message(pixels_hwc, "rgb8", index))
        time.sleep(period_s)


def test_ten_thousand_frames_balance_the_books_and_leave_memory_as_it_was(
    client: Client, launcher: NodeLauncher, tmp_path: Path
) -> None:
    node = launcher.start(
        *fake_parameters(tmp_path, "latency_ms: 2.0"), "input_reliability:=reliable", "input_depth:=100"
    )
    health = client.health()
    client.bring_up()
    publisher = client.image_publisher(node_qos=QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE))
    _send(publisher, 2_000, 0.005)
    resident_bytes = node.resident_bytes()
    _send(publisher, 8_000, 0.005)
    time.sleep(3.0)
    report = health[-1]
    dropped = sum(drop.count for drop in report.dropped)
    assert report.pending == 0
    assert report.received == report.published + dropped
    assert report.received == 10_000
    # A leak of one descriptor (1.8 kB) a frame would be 14 MiB, of one image 1.8 GB.
    assert node.resident_bytes() - resident_bytes < 6 * 2**20
    assert node.end() == 0


def test_three_hundred_loads_of_the_real_network_leave_memory_as_it_was(client: Client, launcher: NodeLauncher) -> None:
    node = launcher.start(*REAL_ENGINE)
    features = client.features()

    def cycle(count: int) -> None:
        for _ in range(count):
            client.bring_up()
            assert client.change_state("deactivate")
            assert client.change_state("cleanup")

    cycle(50)
    resident_bytes = node.resident_bytes()
    cycle(250)
    # One leaked copy of the weights (3 MB in FP32) would be 750 MB; the rest is the allocator's noise.
    assert node.resident_bytes() - resident_bytes < 64 * 2**20
    client.bring_up()
    client.image_publisher().publish(image_message(_PIXELS, "rgb8", 1))
    wait_for(lambda: features, "a descriptor after 300 cycles")
    assert node.end() == 0


def test_thousands_of_lifecycle_cycles_leave_memory_as_it_was(
    client: Client, launcher: NodeLauncher, fake_engine: tuple[str, ...]
) -> None:
    node = launcher.start(*fake_engine)

    def cycle(count: int) -> None:
        for _ in range(count):
            for transition in ("configure", "activate", "deactivate", "cleanup"):
                assert client.change_state(transition)

    cycle(_CYCLES // 10)
    resident_bytes = node.resident_bytes()
    cycle(_CYCLES - _CYCLES // 10)
    # One lost object of 2 kB a cycle would be 3.5 MiB.
    assert node.resident_bytes() - resident_bytes < 3 * 2**20
    assert node.end() == 0


def test_node_killed_at_any_moment_comes_up_again(client: Client, launcher: NodeLauncher, tmp_path: Path) -> None:
    moments = random.Random(0)
    parameters = fake_parameters(tmp_path, "latency_ms: 20.0")
    for _ in range(_KILLS):
        node: NodeProcess = launcher.start(*parameters)
        time.sleep(moments.uniform(0.1, 1.3))
        node.process.kill()
        node.process.wait()
    features = client.features()
    node = launcher.start(*parameters)
    assert client.state() == "unconfigured"
    client.bring_up()
    client.image_publisher().publish(image_message(_PIXELS, "rgb8", 1))
    wait_for(lambda: features, "a descriptor after the kills")
    assert node.end() == 0


def _overload(publisher: Any, features: list[Any], health: list[Any], hz: float) -> tuple[float, float, str]:
    """Publish for 10 s and check the books; returns p95 over median.

    Returns:
        p95 of the total over the median of the network's time, p95 of the network's time over its median, and a line.
    """
    features.clear()
    before = health[-1]
    due_s = time.monotonic()
    for index in range(round(_OVERLOAD_S * hz)):
        publisher.publish(image_message(_SMALL, "rgb8", index))
        due_s += 1 / hz
        time.sleep(max(0.0, due_s - time.monotonic()))
    # Reports come once a second: two more after the last frame tell what has become of it.
    seen = len(health)
    wait_for(lambda: len(health) > seen + 2 and health[-1].pending == 0, "a report with nothing pending")
    report = health[-1]
    wait_for(lambda: len(features) == report.published - before.published, "every published message")
    dropped = sum(drop.count for drop in report.dropped)
    assert report.received == report.published + dropped + report.pending
    assert report.received - before.received > len(features)
    told = sum(drop.count for message in features for drop in message.dropped_since_last)
    assert 0 < told <= dropped
    infer_ms, infer_p95_ms = np.percentile([message.timings.infer_ms for message in features], [50, 95]).tolist()
    p95_ms = float(np.percentile([message.timings.total_ms for message in features], 95))
    ratio = p95_ms / infer_ms
    unrest = infer_p95_ms / infer_ms
    return (
        ratio,
        unrest,
        (
            f"{hz:.1f} Hz in, {len(features) / _OVERLOAD_S:.1f} Hz out, infer median {infer_ms:.1f} ms "
            f"(p95 {infer_p95_ms:.1f}), "
            f"total p95 {p95_ms:.1f} ms, ratio {ratio:.2f}"
        ),
    )


@pytest.mark.parametrize("factor", [1.5, 3.0])
def test_under_overload_the_fake_network_publishes_within_twice_its_own_time(
    client: Client, launcher: NodeLauncher, tmp_path: Path, capsys: pytest.CaptureFixture[str], factor: float
) -> None:
    node = launcher.start(
        *fake_parameters(tmp_path, "latency_ms: 40.0"), "input_reliability:=reliable", "input_depth:=1"
    )
    features, health = client.features(), client.health()
    client.bring_up()
    publisher = client.image_publisher()
    wait_for(lambda: health, "a report")
    ratio, _, line = _overload(publisher, features, health, factor * 25.0)
    with capsys.disabled():
        print(f"\noverload x {factor}, fake runtime of 40 ms: {line}")
    assert ratio < 2.0, line
    assert node.end() == 0


@pytest.mark.parametrize("factor", [1.5, 3.0])
def test_under_overload_the_real_network_publishes_within_twice_its_own_time(
    client: Client, launcher: NodeLauncher, capsys: pytest.CaptureFixture[str], factor: float
) -> None:
    # One thread for the network: one that waits for a core that the sender holds would measure the sender.
    node = launcher.start(
        *REAL_ENGINE, "input_reliability:=reliable", "input_depth:=1", environment={"OMP_NUM_THREADS": "1"}
    )
    features, health, diagnostics = client.features(), client.health(), client.diagnostics()
    client.bring_up()
    publisher = client.image_publisher()
    # Its rate is what it does when it is never idle: after a pause the processor is slower.
    _send(publisher, 300, 0.01, _SMALL)
    wait_for(lambda: health and 0 < health[-1].published == len(features), "a report of the frames before")
    work_ms = float(np.median([message.timings.total_ms - message.timings.wait_ms for message in features]))

    def send_some() -> None:
        _send(publisher, 2, 4.0 * work_ms / 1e3, _SMALL)

    # Those were too many already.
    assert_overload_is_over(diagnostics, send_some)
    wait_for(lambda: health[-1].published == len(features), "a report of the frames before")
    ratios, unrests = [], []
    first = len(diagnostics)
    for _ in range(3):
        ratio, unrest, line = _overload(publisher, features, health, factor * 1000.0 / work_ms)
        with capsys.disabled():
            print(f"\noverload x {factor}, real network of {work_ms:.1f} ms: {line}")
        ratios.append(ratio)
        unrests.append(unrest)
    assert_overload_was_told(diagnostics, first)
    assert_overload_is_over(diagnostics, send_some)
    assert node.end() == 0
    # Whoever else works on this machine only ever adds to a run: the best of three tells what the node does by itself.
    if min(ratios) >= 2.0 and min(unrests) > _UNREST:
        pytest.skip(f"the machine is busy: the network's own p95 was {min(unrests):.2f} times its median or more")
    assert min(ratios) < 2.0
