"""What takes minutes: soaks, many cycles, many kills."""

import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from node_harness import Client, NodeLauncher, NodeProcess, image_message, wait_for
from node_parameters import REAL_ENGINE, fake_parameters
from rclpy.qos import QoSProfile, ReliabilityPolicy

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

_PIXELS = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)


def _send(publisher: Any, frames: int, period_s: float) -> None:
    for index in range(frames):
        publisher.publish(image_message(_PIXELS, "rgb8", index))
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


def test_thousand_lifecycle_cycles_leave_memory_as_it_was(
    client: Client, launcher: NodeLauncher, fake_engine: tuple[str, ...]
) -> None:
    node = launcher.start(*fake_engine)

    def cycle(count: int) -> None:
        for _ in range(count):
            for transition in ("configure", "activate", "deactivate", "cleanup"):
                assert client.change_state(transition)

    cycle(100)
    resident_bytes = node.resident_bytes()
    cycle(900)
    assert node.resident_bytes() - resident_bytes < 12 * 2**20
    assert node.end() == 0


def test_node_killed_at_any_moment_comes_up_again(client: Client, launcher: NodeLauncher, tmp_path: Path) -> None:
    moments = random.Random(0)
    parameters = fake_parameters(tmp_path, "latency_ms: 20.0")
    for _ in range(50):
        node: NodeProcess = launcher.start(*parameters)
        time.sleep(moments.uniform(0.2, 2.0))
        node.process.kill()
        node.process.wait()
    features = client.features()
    node = launcher.start(*parameters)
    assert client.state() == "unconfigured"
    client.bring_up()
    client.image_publisher().publish(image_message(_PIXELS, "rgb8", 1))
    wait_for(lambda: features, "a descriptor after 50 kills")
    assert node.end() == 0
