"""What the computer, the middleware and the operator do to the process."""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fault_bench import FaultBench
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from node_harness import NodeLauncher, wait_for
from node_parameters import fake_parameters
from rosgraph_msgs.msg import Clock

from gps_denied_inference.core.health import Level

_GROUP = "The process, the clock and the middleware"

_BLOCKING_SUBSCRIBER = """
import sys, rclpy
from rclpy.qos import QoSProfile, HistoryPolicy
from gps_denied_inference.msg import GlobalDescriptor
rclpy.init()
node = rclpy.create_node("blocking_subscriber")
def receive(message):
    print("received", flush=True)
node.create_subscription(GlobalDescriptor, sys.argv[1], receive, QoSProfile(depth=10))
rclpy.spin(node)
"""


@pytest.fixture(scope="module")
def bench(make_bench: Callable[[str, str], FaultBench]) -> FaultBench:
    bench = make_bench("/process", _GROUP)
    bench.start("use_sim_time:=true", "infer_deadline_ms:=1000.0", script="latency_ms: 15.0")
    bench.bring_up()
    return bench


def _clock(second: int) -> Clock:
    message = Clock()
    message.clock.sec = second
    return message


def _has_reached(bench: FaultBench, clock: Any, second: int) -> bool:
    clock.publish(_clock(second))
    return bool(bench.health[-1].header.stamp.sec == second)


def test_clock_that_jumps_forward_and_back_stalls_nothing(bench: FaultBench) -> None:
    with bench.fault("simulated time jumps an hour forward and two back", "worked on; the jumps are told") as fault:
        clock = bench.client.node.create_publisher(Clock, "/clock", 10)
        wait_for(lambda: clock.get_subscription_count() > 0, "a subscriber of /clock")
        for second in (10_000, 13_600, 6_400):
            bench.wait(partial(_has_reached, bench, clock, second), f"a report of second {second}")
            bench.works()
        fault.observe_value("input", "time_jumps_backward", lambda value: value not in ("", "0"))
        fault.recovered("none needed: what is stale is judged by the steady clock")


def test_stopped_process_goes_on_where_it_was(bench: FaultBench) -> None:
    with bench.fault(
        "SIGSTOP for 2 s while frames come, then SIGCONT", "WARN of the silence or the queue, then OK; no false hang"
    ) as fault:
        bench.works()
        reloads = bench.balanced().engine_reloads
        for _ in range(20):
            bench.send()
            time.sleep(0.01)
        bench.node.process.send_signal(signal.SIGSTOP)
        bench.send()
        # Longer than infer_deadline_ms: the network did not hang, the process stood still.
        time.sleep(2.0)
        bench.node.process.send_signal(signal.SIGCONT)
        fault.observe("input", Level.WARN, "no image on")
        fault.recovered("by itself", task="input")
        assert bench.balanced().engine_reloads == reloads


def test_subscriber_that_blocks_does_not_hold_up_the_node(bench: FaultBench) -> None:
    with bench.fault("a subscriber of the features stops taking them", "the node works on for all others") as fault:
        variables = {**os.environ, "ROS_DOMAIN_ID": str(bench.client.domain_id)}
        command = [sys.executable, "-c", _BLOCKING_SUBSCRIBER, f"{bench.namespace}/global_descriptor"]
        subscriber = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE)
        try:
            assert subscriber.stdout is not None
            os.set_blocking(subscriber.stdout.fileno(), False)
            bench.wait(subscriber.stdout.read, "a descriptor in the other process", while_sending=True)
            subscriber.send_signal(signal.SIGSTOP)
            before = bench.balanced().published
            seen = len(bench.features)
            # Many times what the queues hold.
            for _ in range(200):
                bench.send()
                time.sleep(0.005)
            after = bench.balanced()
            assert after.published - before > 30
            wait_for(lambda: len(bench.features) - seen == after.published - before, "every descriptor here")
        finally:
            subscriber.kill()
            subscriber.communicate()
            if subscriber.stdout is not None:
                subscriber.stdout.close()
        fault.note("OK: every descriptor that was published came to the other subscriber")
        fault.recovered("none needed")


def test_second_node_of_the_same_name_is_told(bench: FaultBench, launcher: NodeLauncher, folder: Path) -> None:
    with bench.fault(
        "a second node of the same name starts", "ERROR that says what to do; OK when it has gone"
    ) as fault:
        twin = launcher.start(*fake_parameters(folder, "latency_ms: 2.0"), namespace=bench.namespace)
        fault.observe("node", Level.ERROR, "nodes are named", bench.name, "__node")
        assert twin.end() == 0
        fault.recovered("when the other one ends", task="node")


def test_flood_of_lifecycle_requests_is_answered_to_the_last(bench: FaultBench) -> None:
    with bench.fault(
        "200 lifecycle requests in no order, eight at a time",
        "each is answered; the node ends in a state",
    ) as fault:
        caller = bench.client.node.create_client(ChangeState, f"{bench.name}/change_state")
        assert caller.wait_for_service(30.0)
        choice = random.Random(0)
        numbers = (
            Transition.TRANSITION_CONFIGURE,
            Transition.TRANSITION_ACTIVATE,
            Transition.TRANSITION_DEACTIVATE,
            Transition.TRANSITION_CLEANUP,
        )
        requests = [ChangeState.Request(transition=Transition(id=choice.choice(numbers))) for _ in range(200)]
        futures: list[Any] = []

        def are_few_waiting() -> bool:
            return sum(not future.done() for future in futures) < 8

        for request in requests:
            # More at a time than the ten that a service of ROS queues by default would be lost in DDS.
            wait_for(are_few_waiting, "an answer")
            futures.append(caller.call_async(request))
        bench.wait(lambda: all(future.done() for future in futures), "every answer")
        succeeded = sum(bool(answer.success) for answer in (future.result() for future in futures))
        assert 0 < succeeded < len(futures)
        state = bench.client.state(bench.name)
        assert state in ("unconfigured", "inactive", "active")
        fault.note(f"{len(futures)} answers, of them {len(futures) - succeeded} refusals; then {state}")
        fault.note_log("is not possible in state")
        if state == "unconfigured":
            assert bench.change_state("configure")
        if state != "active":
            assert bench.change_state("activate")
        bench.works()
        fault.recovered("none needed: the next request is answered as ever")


@pytest.mark.parametrize(
    ("what", "text", "word"),
    [
        ("a parameter file with a parameter of the wrong type", "input_depth: many", "input_depth"),
        ("a parameter file with a number out of its range", "max_frame_age_ms: -1.0", "max_frame_age_ms"),
        (
            "a parameter file with a parameter that does not exist",
            "max_frame_age: 400.0",
            "did you mean max_frame_age_ms",
        ),
        ("a parameter file that is no YAML", "{[", "cannot be read"),
    ],
)
def test_wrong_parameter_file_ends_the_process_with_a_sentence(
    bench: FaultBench, launcher: NodeLauncher, folder: Path, what: str, text: str, word: str
) -> None:
    path = folder / "wrong.yaml"
    path.write_text(f"/**:\n  ros__parameters:\n    {text}\n")
    node = launcher.start(namespace="/wrong", params_file=path)
    assert node.process.wait(60) == 1
    line = next(line for line in node.log.splitlines() if word in line)
    assert "Traceback" not in node.log
    bench.record(
        what,
        "the process ends at once with status 1 and a sentence",
        [f"stderr: {line.replace(str(folder), 'FOLDER')}"],
        "with a right file: start it again",
    )


def test_node_without_shared_memory_works_over_the_network(
    make_bench: Callable[[str, str], FaultBench],
) -> None:
    def no_file_may_grow() -> None:
        # A segment of Fast DDS is half a megabyte: the system refuses it, as when /dev/shm is full.
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    bench = make_bench("/segments", _GROUP)
    with bench.fault("no shared memory for DDS", "said in the log; DDS takes the network's loopback") as fault:
        bench.start(preexec=no_file_may_grow)
        bench.bring_up()
        bench.works()
        fault.note_log("Failed to create segment")
        fault.recovered("none needed; shared memory is used again after a restart")
    assert bench.node.end() == 0
