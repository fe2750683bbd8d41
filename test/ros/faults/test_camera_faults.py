"""A camera that does what cameras do."""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from fault_bench import PIXELS, FaultBench
from node_harness import image_message
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from gps_denied_inference.core.health import Level
from gps_denied_inference.core.interface import stamp_ns_from_message

_GROUP = "The camera"
_HOUR_NS = 3600 * 10**9


@pytest.fixture(scope="module")
def bench(make_bench: Callable[[str, str], FaultBench]) -> FaultBench:
    bench = make_bench("/camera", _GROUP)
    bench.start(script="latency_ms: 15.0")
    bench.bring_up()
    return bench


def _is_last(bench: FaultBench, stamp_ns: int) -> bool:
    return stamp_ns_from_message(bench.features[-1]) == stamp_ns


def test_camera_whose_qos_matches_nobody_is_told(bench: FaultBench) -> None:
    with bench.fault(
        "it offers best effort where input_reliability is reliable", "ERROR that names the parameter"
    ) as fault:
        camera = bench.client.node.create_publisher(
            Image, f"{bench.namespace}/image", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        )
        fault.observe("input", Level.ERROR, "RELIABILITY", "set input_reliability")
        bench.client.node.destroy_publisher(camera)
        fault.recovered("with a camera whose QoS matches", task="input")


def test_camera_that_comes_back_with_another_qos_is_told(bench: FaultBench) -> None:
    with bench.fault(
        "it comes back with another QoS", "ERROR that names the parameter, once images are missed"
    ) as fault:
        bench.works()
        camera = bench.client.node.create_publisher(
            Image, f"{bench.namespace}/image", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        )
        fault.observe("input", Level.ERROR, "RELIABILITY", "set input_reliability")
        bench.client.node.destroy_publisher(camera)
        fault.recovered("with the first image of the right QoS", task="input")


def test_camera_that_stops_is_told_until_it_comes_back(bench: FaultBench) -> None:
    with bench.fault("it stops", "WARN after input_timeout_s; OK when it is back") as fault:
        bench.works()
        fault.observe("input", Level.WARN, "no image on", "check the camera")
        fault.recovered("with the next image", task="input")


def test_size_may_change_from_frame_to_frame(bench: FaultBench) -> None:
    with bench.fault("its images change size", "WARN; worked on; the new size is in the diagnostics") as fault:
        bench.works()
        seen = len(bench.features)
        bench.send(np.zeros((31, 77, 3), np.uint8))
        fault.observe_value("input", "size", lambda value: value == "77x31")
        bench.wait(lambda: len(bench.features) > seen, "the answer to the other size")
        fault.observe("input", Level.WARN, "the image size changes; fix the camera's mode", while_sending=True)
        fault.recovered("none needed")


def test_encoding_may_change_from_frame_to_frame(bench: FaultBench) -> None:
    with bench.fault("its encoding changes", "WARN; worked on; the new encoding is in the diagnostics") as fault:
        bench.works()
        seen = len(bench.features)
        bench.send(PIXELS[..., 0], "mono8")
        fault.observe_value("input", "encoding", lambda value: value == "mono8")
        bench.wait(lambda: len(bench.features) > seen, "the answer to the other encoding")
        fault.observe("input", Level.WARN, "the encoding changes; fix the camera's mode", while_sending=True)
        fault.recovered("none needed")


@pytest.mark.parametrize(
    ("what", "break_message", "word"),
    [
        ("its encoding is unknown", {"encoding": "thermal_camera_17"}, "thermal_camera_17"),
        ("its data are cut off", {"data": bytes(17)}, "17"),
        ("its images are empty", {"height": 0, "width": 0, "step": 0, "data": b""}, ""),
        ("its step is smaller than a row", {"step": 3}, "step"),
    ],
)
def test_frame_that_cannot_be_decoded_is_counted_and_told(
    bench: FaultBench, what: str, break_message: dict[str, object], word: str
) -> None:
    expected = "WARN with the cause, beside whole images; the frame counts as undecodable"
    with bench.fault(what, expected) as fault:
        bench.works()
        before = {drop.reason: drop.count for drop in bench.balanced().dropped}["undecodable"]
        message = image_message(PIXELS, "rgb8", 1)
        for name, value in break_message.items():
            setattr(message, name, value)
        bench.publish(message)
        fault.observe("inference", Level.WARN, "undecodable", word)
        assert {drop.reason: drop.count for drop in bench.balanced().dropped}["undecodable"] == before + 1
        fault.recovered("with the next whole image", task="inference")


def test_stamps_that_go_backwards_are_told_and_copied_as_they_are(bench: FaultBench) -> None:
    with bench.fault("its stamps go backwards", "WARN; worked on, the stamp copied verbatim") as fault:
        stamp_ns = bench.client.node.get_clock().now().nanoseconds
        for back_ns in (0, 10**9):
            bench.send(stamp_ns=stamp_ns - back_ns)
            bench.wait(partial(_is_last, bench, stamp_ns - back_ns), "the answer")
        fault.observe("input", Level.WARN, "stamps go backwards; check the camera's clock", while_sending=True)
        fault.recovered("none needed: frames are told apart by the time of their reception")


@pytest.mark.parametrize(
    ("what", "offset_ns", "is_expected", "complaint"),
    [
        ("its stamps are of an hour ago", -_HOUR_NS, lambda value: value > 3.5e6, ""),
        ("its stamps are an hour ahead", _HOUR_NS, lambda value: value < -3.5e6, "stamps lie in the future"),
    ],
)
def test_stamps_of_another_time_are_told_and_copied_as_they_are(
    bench: FaultBench, what: str, offset_ns: int, is_expected: Callable[[float], bool], complaint: str
) -> None:
    def age_is_told(value: str) -> bool:
        return value not in ("", "unknown") and is_expected(float(value))

    expected = "worked on, the stamp copied verbatim; its age is in the diagnostics"
    with bench.fault(what, f"WARN; {expected}" if complaint else expected) as fault:
        stamp_ns = bench.client.node.get_clock().now().nanoseconds + offset_ns
        bench.send(stamp_ns=stamp_ns)
        fault.observe_value("input", "stamp_age_ms", age_is_told)
        bench.wait(partial(_is_last, bench, stamp_ns), "the answer")
        if complaint:
            fault.observe("input", Level.WARN, complaint, while_sending=True)
        fault.recovered("none needed: what is stale is judged by the time of reception")


def test_flood_of_frames_is_told_as_overload_and_counted_to_the_last_one(bench: FaultBench) -> None:
    with bench.fault("it floods the node", "WARN of overload; the newest frame wins; every frame is counted") as fault:
        bench.works()
        before, sent = bench.balanced(), bench.sent
        for _ in range(8):
            for _ in range(50):
                bench.send()
                time.sleep(0.002)
            # What a longer burst loses in the queues of DDS (input_depth is 100) never comes to the node.
            bench.wait(lambda: bench.health[-1].received - before.received == bench.sent - sent, "the burst")
        fault.observe("inference", Level.WARN, "overload", "lower the camera's rate", while_sending=True)
        after = bench.balanced()
        assert after.received - before.received == bench.sent - sent
        assert stamp_ns_from_message(bench.features[-1]) == bench.sent
        fault.recovered("by itself, within 2 s of the flood's end")
        bench.wait(lambda: bench.latest("inference").level == bytes([Level.OK]), "inference at OK again")
