"""`gdi replay --mode live` over real DDS, to a node in a process of its own."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import pytest
from bags import without_last_images, write_image_bag
from node_bench import NodeBench, node_bench
from node_harness import wait_for
from node_parameters import fake_parameters
from rosgraph_msgs.msg import Clock

from gps_denied_inference.cli.main import main
from gps_denied_inference.core.replay import BagFormat, BagReader

_FRAMES = 6
_FIRST_NS, _LAST_NS = 1_000_000_000, 1_500_000_000


@pytest.fixture(scope="module")
def bench(domain_id: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeBench]:
    folder = tmp_path_factory.mktemp("live")
    # The replay chooses a transport profile for its process, which is this one.
    with node_bench(domain_id, folder) as bench, patch.dict(os.environ, ROS_DOMAIN_ID=str(domain_id)):
        options = ("image_transport:=compressed", "diagnostics_rate_hz:=10.0")
        bench.start("inference_node", *fake_parameters(folder, "latency_ms: 1.0"), *options, namespace="/left")
        bench.client.bring_up("/left/inference_node")
        yield bench


def test_bag_is_played_in_loops_at_its_pace_with_its_clock_and_every_frame_is_accounted_for(
    bench: NodeBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown_s: list[float] = []
    counts: list[int] = []

    @contextmanager
    def progress(_title: str, total: int) -> Iterator[Callable[[int], None]]:
        assert total == 2 * _FRAMES

        def show(done: int) -> None:
            if done == 1:
                bench.client.await_seen_by("/left/inference_node")
                wait_for(lambda: clock.get_publisher_count() > 0, "the player's clock")
                time.sleep(0.5)  # the player, whom nobody can ask, finds this side, too
            counts.append(done)
            shown_s.append(time.monotonic())

        yield show

    monkeypatch.setattr("gps_denied_inference.cli.replay.progress", progress)
    ticks: list[Clock] = []
    clock = bench.client.node.create_subscription(Clock, "/clock", ticks.append, 1000)
    bag, output, report = write_image_bag(tmp_path / "bag", frames=_FRAMES), tmp_path / "out", tmp_path / "report.json"
    command = ["replay", str(bag), "--mode", "live", "--namespace", "/left", "--rate", "0.5", "--loop", "2"]
    assert main([*command, "--output", str(output), "--report", str(report)]) == 0

    figures = json.loads(report.read_text())
    assert figures["published_on"] == "/left/image/compressed" and figures["interruption"] == ""
    assert figures["frames_in"] == 2 * _FRAMES and counts == list(range(1, 2 * _FRAMES + 1))
    answered = figures["frames_published"] + sum(figures["frames_dropped"].values())
    assert answered + figures["frames_lost_in_transport"] == 2 * _FRAMES and figures["frames_pending"] == 0
    assert 0 < figures["latency_ms"]["p50"] <= figures["latency_ms"]["p99"]
    with BagReader(output) as reader:
        recorded = len(list(reader.messages("/left/global_descriptor")))
        assert len(list(reader.messages("/left/model_info"))) == 1
    assert recorded == figures["messages_recorded"] == figures["frames_published"] > 0

    # Half a second of recording at half the pace; the second loop starts after the last image of the first.
    assert shown_s[-1] - shown_s[_FRAMES - 1] >= (_LAST_NS - _FIRST_NS) / 1e9 / 0.5
    times_ns = [tick.clock.sec * 10**9 + tick.clock.nanosec for tick in ticks]
    assert times_ns[0] >= _FIRST_NS and sum(b < a for a, b in pairwise(times_ns)) == 1
    assert any(now < _LAST_NS and now % 100_000_000 for now in times_ns), "no tick between two images"


def test_bag_that_ends_before_its_last_image_says_so_and_keeps_what_came(
    bench: NodeBench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = without_last_images(write_image_bag(tmp_path / "bag", storage=BagFormat.SQLITE3), kept=4)
    report = tmp_path / "report.json"
    command = ["replay", str(bag), "--mode", "live", "--namespace", "/left", "--loop", "2", "--report", str(report)]
    assert main(command) == 1
    shown = capsys.readouterr().err
    assert "announces 6 images" in shown and "only 4 can be read" in shown and "what came before is kept" in shown
    figures = json.loads(report.read_text())
    assert figures["frames_in"] == 4 and "only 4 can be read" in figures["interruption"]
