"""What holds of every executable with a lifecycle, and takes minutes: many cycles, each signal in each state."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from node_feeds import CASES
from node_harness import Client, NodeLauncher

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

TRANSITIONS = ("configure", "activate", "deactivate", "cleanup")


@pytest.mark.parametrize("name", CASES)
def test_hundred_cycles_leave_memory_threads_and_files_as_they_were(
    name: str, client: Client, launcher: NodeLauncher, tmp_path: Path
) -> None:
    case = CASES[name]
    node = launcher.start(*case.parameters(tmp_path), executable=name)

    def cycle(count: int) -> tuple[int, int, int]:
        for _ in range(count):
            for transition in TRANSITIONS:
                assert client.change_state(transition, case.node)
        process = Path(f"/proc/{node.pid}")
        return node.resident_bytes(), len(list((process / "task").iterdir())), len(list((process / "fd").iterdir()))

    resident_bytes, threads, files = cycle(50)
    resident_after_bytes, threads_after, files_after = cycle(100)
    # A lost object of 10 kB a cycle would be 1 MiB.
    assert resident_after_bytes - resident_bytes < 2**20
    assert threads_after <= threads and files_after <= files
    assert node.end() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("state", ["unconfigured", "inactive", "active"])
@pytest.mark.parametrize("name", CASES)
def test_signal_ends_a_node_in_any_state_with_status_0(
    name: str, state: str, number: signal.Signals, client: Client, launcher: NodeLauncher, tmp_path: Path
) -> None:
    case = CASES[name]
    node = launcher.start(*case.parameters(tmp_path), executable=name)
    for transition in TRANSITIONS[: ("unconfigured", "inactive", "active").index(state)]:
        assert client.change_state(transition, case.node)
    assert client.state(case.node) == state
    assert node.end(number) == 0
    assert "Traceback" not in node.log
