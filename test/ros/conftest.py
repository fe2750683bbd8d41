"""Nodes over real DDS: each test module in a domain of its own, found on this host only."""

import os
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


@pytest.fixture
def domain_id() -> int:
    # 1..101 leaves room for Fast DDS's ports; the process id keeps two test runs on one machine apart.
    return 1 + os.getpid() % 101


@pytest.fixture
def client(domain_id: int) -> Iterator[Client]:
    with client_in_domain(domain_id) as client:
        yield client


@pytest.fixture
def launcher(domain_id: int, tmp_path: Path) -> Iterator[NodeLauncher]:
    launcher = NodeLauncher(domain_id, tmp_path)
    yield launcher
    launcher.end_all()


@pytest.fixture
def fake_engine(tmp_path: Path) -> tuple[str, ...]:
    """Parameters of a node that runs the fake runtime, 5 ms a frame."""
    return fake_parameters(tmp_path, "latency_ms: 5.0")
