"""One client for the faults of a module, and the table that all modules fill."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fault_bench import FaultBench
from fault_table import FaultTable
from node_harness import Client, NodeLauncher, client_in_domain

_PAGE = Path(__file__).resolve().parents[3] / "build" / "faults.md"
MakeBench = Callable[[str, str], FaultBench]


@pytest.fixture(scope="module")
def fault_table(request: pytest.FixtureRequest) -> Iterator[FaultTable]:
    table = FaultTable(_PAGE, request.path.stem)
    yield table
    table.write()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def launcher(domain_id: int, folder: Path) -> Iterator[NodeLauncher]:
    launcher = NodeLauncher(domain_id, folder)
    yield launcher
    launcher.end_all()


@pytest.fixture(scope="module")
def client(domain_id: int, launcher: NodeLauncher) -> Iterator[Client]:
    """Closed before the nodes are killed: see the client of the folder above."""
    with client_in_domain(domain_id) as client:
        yield client


@pytest.fixture(scope="module")
def make_bench(client: Client, launcher: NodeLauncher, fault_table: FaultTable, folder: Path) -> MakeBench:
    """Makes a bench of a namespace and a heading."""
    return lambda namespace, group: FaultBench(client, launcher, fault_table, folder, namespace=namespace, group=group)
