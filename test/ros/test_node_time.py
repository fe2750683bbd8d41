"""Simulated time, looped bags and jumps backwards."""

from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from node_harness import Client, NodeLauncher, image_message, wait_for
from rosgraph_msgs.msg import Clock

from gps_denied_inference.core.interface import stamp_ns_from_message

_PIXELS = np.zeros((48, 64, 3), np.uint8)


def _clock(stamp_ns: int) -> Clock:
    message = Clock()
    message.clock.sec, message.clock.nanosec = stamp_ns // 10**9, stamp_ns % 10**9
    return message


def _input_values(diagnostics: list[DiagnosticArray]) -> dict[str, str]:
    status = next((s for array in reversed(diagnostics) for s in array.status if s.name.endswith(": input")), None)
    return {item.key: item.value for item in status.values} if status is not None else {}


def test_looped_bag_in_simulated_time_stalls_nothing(
    client: Client, launcher: NodeLauncher, fake_engine: tuple[str, ...]
) -> None:
    node = launcher.start(*fake_engine, "use_sim_time:=true")
    features, diagnostics, health = client.features(), client.diagnostics(), client.health()
    # No clock has ticked: the reports run on the steady clock all the same.
    wait_for(lambda: len(health) >= 2, "health without a clock")
    client.bring_up()
    publisher = client.image_publisher()
    clock = client.node.create_publisher(Clock, "/clock", 10)
    wait_for(lambda: clock.get_subscription_count() > 0, "a subscriber of /clock")
    expected: list[int] = []
    for _loop in range(3):
        for second in range(100, 103):
            stamp_ns = second * 10**9
            clock.publish(_clock(stamp_ns + 5_000_000))
            publisher.publish(image_message(_PIXELS, "rgb8", stamp_ns))
            expected.append(stamp_ns)
            wait_for(lambda: len(features) == len(expected), f"frame {len(expected)} of the looped bag")
    assert [stamp_ns_from_message(message) for message in features] == expected
    wait_for(lambda: int(_input_values(diagnostics).get("time_jumps_backward", "0")) >= 2, "two jumps backwards")
    latest = wait_for(lambda: health[-1].header.stamp.sec in (102, 103) and health[-1], "a stamp of simulated time")
    assert latest.received == latest.published == 9
    assert node.end() == 0


def test_stamp_age_is_taken_on_simulated_time(
    client: Client, launcher: NodeLauncher, fake_engine: tuple[str, ...]
) -> None:
    node = launcher.start(*fake_engine, "use_sim_time:=true")
    features, diagnostics = client.features(), client.diagnostics()
    client.bring_up()
    publisher = client.image_publisher()
    clock = client.node.create_publisher(Clock, "/clock", 10)
    wait_for(lambda: clock.get_subscription_count() > 0, "a subscriber of /clock")

    def age_ms() -> Any:
        clock.publish(_clock(50 * 10**9))
        text = _input_values(diagnostics).get("stamp_age_ms", "unknown")
        publisher.publish(image_message(_PIXELS, "rgb8", 50 * 10**9 - 250_000_000))
        return text != "unknown" and abs(float(text) - 250.0) < 1.0

    wait_for(age_ms, "a stamp age of 250 ms of simulated time")
    assert features
    assert node.end() == 0
