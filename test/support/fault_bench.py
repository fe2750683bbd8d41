"""A node under test, the faults that are put to it, and the record of what came of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from fault_table import FaultRow, FaultTable
from node_harness import Client, NodeLauncher, NodeProcess, image_message, wait_for
from node_parameters import fake_parameters
from rclpy.qos import QoSProfile, ReliabilityPolicy

from gps_denied_inference.core.health import Level

__all__ = ["BRISK", "PIXELS", "Fault", "FaultBench"]

PIXELS = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)

BRISK = ("diagnostics_rate_hz:=10.0", "input_timeout_s:=0.5", "input_reliability:=reliable", "input_depth:=100")
"""Reports come soon, and every frame that is sent is received."""

_DEEP = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)


_WITHOUT_COLOUR_AND_TIME = re.compile(r"\x1b\[[\d;]*m|^(\[[^\]]*\] ?)+:? ?|\d{4}-\d\d-\d\d [\d:.]+ ")


class Fault:
    """What is seen of one fault while it lasts."""

    def __init__(self, bench: FaultBench) -> None:
        self._bench = bench
        self._first = len(bench.diagnostics)
        self.observations: list[str] = []
        self.recovery = ""

    def observe(self, task: str, level: Level, *words: str, while_sending: bool = False) -> Any:
        """Wait for a status of this level with these words, since the fault began, and keep its text."""
        status = self._bench.wait(
            lambda: self._find(task, level, words), f"{level.name} of {task} with {words}", while_sending=while_sending
        )
        self.observations.append(f"{level.name} {task}: {status.message}")
        return status

    def observe_value(self, task: str, key: str, is_expected: Callable[[str], bool]) -> None:
        """Wait for a value in the diagnostics, since the fault began, and keep it."""

        def found() -> str:
            for array in reversed(self._bench.diagnostics[self._first :]):
                for status in array.status:
                    if status.name.endswith(f": {task}"):
                        value = next((item.value for item in status.values if item.key == key), "")
                        if is_expected(value):
                            return str(value)
            return ""

        value = self._bench.wait(found, f"{key} of {task}")
        self.observations.append(f"{task}, {key}: {value}")

    def note(self, text: str) -> None:
        """Keep what was seen elsewhere: in the log, in an answer."""
        self.observations.append(text)

    def note_log(self, word: str) -> None:
        """Wait for a word in the node's log and keep the line."""
        log = self._bench.node.wait_for_log(word)
        line = next(line for line in log.splitlines() if word in line)
        self.observations.append(f"log: {_WITHOUT_COLOUR_AND_TIME.sub('', line)}")

    def recovered(self, how: str, *, task: str = "", level: Level = Level.OK) -> None:
        """Say how it came back; with a task, wait until that is at this level again."""
        if task:
            seen = len(self._bench.diagnostics)
            self._bench.wait(
                lambda: (
                    self._bench.latest(task, seen) is not None
                    and self._bench.latest(task, seen).level == bytes([level])
                ),
                f"{task} at {level.name} again",
                while_sending=True,
            )
        self.recovery = how

    def _find(self, task: str, level: Level, words: tuple[str, ...]) -> Any:
        for array in self._bench.diagnostics[self._first :]:
            for status in array.status:
                if (
                    status.name == f"{self._bench.name}: {task}"
                    and status.level == bytes([level])
                    and all(word in status.message for word in words)
                ):
                    return status
        return None


class FaultBench:
    """A node in a namespace of its own, so that the traces of dead ones do not get in its way.

    Args:
        group: heading of the faults in the table.
    """

    def __init__(
        self, client: Client, launcher: NodeLauncher, table: FaultTable, folder: Path, *, namespace: str, group: str
    ) -> None:
        self.client = client
        self.folder = folder
        self.namespace = namespace
        self.name = f"{namespace}/inference_node"
        self.sent = 0
        self.node: NodeProcess
        self._launcher = launcher
        self._table = table
        self._group = group
        self._publisher: Any = None
        self.features = client.features(namespace)
        self.health = client.health(namespace)
        self.diagnostics = client.diagnostics()

    def start(self, *parameters: str, script: str = "latency_ms: 2.0", **options: Any) -> None:
        """Start a node with the fake runtime."""
        self.start_real(*fake_parameters(self.folder, script), *parameters, **options)

    def start_real(self, *parameters: str, **options: Any) -> None:
        """Start a node with the engine of the parameters."""
        self.node = self._launcher.start(*BRISK, *parameters, namespace=self.namespace, **options)

    def bring_up(self) -> None:
        self.client.bring_up(self.name)

    def change_state(self, *transitions: str) -> bool:
        """Ask for one transition after the other; False as soon as one is refused."""
        return all(self.client.change_state(transition, self.name) for transition in transitions)

    def send(self, pixels: Any = PIXELS, encoding: str = "rgb8", stamp_ns: int | None = None) -> None:
        """Publish an image."""
        self.sent += 1
        self.publish(image_message(pixels, encoding, self.sent if stamp_ns is None else stamp_ns))

    def publish(self, message: Any) -> None:
        if self._publisher is None:
            self._publisher = self.client.image_publisher(f"{self.namespace}/image", node_qos=_DEEP)
        self._publisher.publish(message)

    def wait(self, condition: Callable[[], Any], what: str, *, while_sending: bool = False) -> Any:
        """Wait for a condition, with a camera that goes on or without one."""

        def look() -> Any:
            if while_sending:
                self.send()
            return condition()

        try:
            return wait_for(look, what)
        except AssertionError as error:
            books = f"{self.sent} images sent; the last of {len(self.health)} reports: {self.health[-1:]}"
            raise AssertionError(f"{error}\n{books}\nthe log ends with\n{self.node.log[-3000:]}") from None

    def works(self) -> None:
        """Wait until a frame comes out."""
        seen = len(self.features)
        self.wait(lambda: len(self.features) > seen, "a descriptor", while_sending=True)

    def latest(self, task: str, first: int = 0) -> Any:
        """Return the last status of a task, of the arrays from `first` on."""
        for array in reversed(self.diagnostics[first:]):
            for status in array.status:
                if status.name == f"{self.name}: {task}":
                    return status
        return None

    def balanced(self) -> Any:
        """Wait for a report of now with nothing pending, check its sum, and return it."""
        seen = len(self.health)
        report = wait_for(
            lambda: len(self.health) > seen + 1 and self.health[-1].pending == 0 and self.health[-1], "balanced books"
        )
        assert report.received == report.published + sum(drop.count for drop in report.dropped)
        return report

    @contextmanager
    def fault(self, what: str, expected: str, *, ends_process: bool = False) -> Iterator[Fault]:
        """Describe a fault; inside, break something and observe. What must hold after any fault is checked at the end.

        Args:
            ends_process: the node is expected to end; else it must be alive.
        """
        fault = Fault(self)
        yield fault
        if not ends_process:
            assert self.node.process.poll() is None, self.node.log
            self.balanced()
        assert "Traceback" not in self.node.log, self.node.log
        assert fault.observations and fault.recovery, "a fault without an observation or a recovery shows nothing"
        self.record(what, expected, fault.observations, fault.recovery)

    def record(self, what: str, expected: str, observations: list[str], recovery: str) -> None:
        """Add a row to the table."""
        self._table.add(FaultRow(self._group, what, expected, "; ".join(dict.fromkeys(observations)), recovery))
