"""Nodes over real DDS: in a domain of their own, found on this host only."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from dds_segments import fast_dds_segments, remove_abandoned
from node_harness import Client, NodeLauncher, client_in_domain
from node_parameters import fake_parameters


@pytest.fixture(scope="session", autouse=True)
def _no_segment_is_left() -> Iterator[None]:
    before = fast_dds_segments()
    yield
    remove_abandoned(fast_dds_segments() - before)


@pytest.fixture(scope="session")
def domain_id() -> Iterator[int]:
    """A domain that no other test run on this machine uses: a bound port stands for it as long as the run lives."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as lock:
        for domain in range(1, 101):  # Fast DDS's ports end at 101 on Linux's default port range
            try:
                lock.bind(("127.0.0.1", 29000 + domain))
            except OSError:
                continue
            yield domain
            return
    raise RuntimeError("every DDS domain from 1 to 100 is in use by other test runs; wait for them to end")


@pytest.fixture
def launcher(domain_id: int, tmp_path: Path) -> Iterator[NodeLauncher]:
    launcher = NodeLauncher(domain_id, tmp_path)
    yield launcher
    launcher.end_all()


@pytest.fixture
def client(domain_id: int, launcher: NodeLauncher) -> Iterator[Client]:
    """Closed before the nodes are killed.

    A process that is killed while it sends holds the lock of the port in shared memory that it sends to. Fast DDS then
    makes that port anew within a second, and whoever closes it just then reads memory that is no longer there.
    """
    with client_in_domain(domain_id) as client:
        yield client


@pytest.fixture
def fake_engine(tmp_path: Path) -> tuple[str, ...]:
    """Parameters of a node that runs the fake runtime, 5 ms a frame."""
    return fake_parameters(tmp_path, "latency_ms: 5.0")
