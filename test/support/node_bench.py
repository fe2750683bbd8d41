"""A node with a worker, its client, and what its diagnostics say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from node_harness import Client, NodeLauncher, NodeProcess, client_in_domain, wait_for
from rclpy.qos import QoSProfile, ReliabilityPolicy

from gps_denied_inference.core.settings import SettingField

__all__ = ["DEEP", "NodeBench", "default_in_file", "node_bench", "parameters_of_file"]

DEEP = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)


class NodeBench:
    """One process of a node, kept for several tests."""

    def __init__(self, client: Client, launcher: NodeLauncher, folder: Path) -> None:
        self.client = client
        self.launcher = launcher
        self.folder = folder
        self.diagnostics = client.diagnostics()

    def start(self, executable: str, *parameters: str, **options: Any) -> NodeProcess:
        return self.launcher.start(*parameters, executable=executable, **options)

    def statuses(self, name: str) -> list[Any]:
        return [status for array in list(self.diagnostics) for status in array.status if status.name == name]

    def next_status(self, name: str) -> Any:
        """Return a status that is published after this call, and so of what is true by then."""
        count = len(self.statuses(name))
        # One may be on its way.
        return wait_for(lambda: len(self.statuses(name)) > count + 1 and self.statuses(name)[-1], f"status {name}")

    def wait_for_status(self, name: str, level: bytes, word: str) -> Any:
        count = len(self.statuses(name))

        def found() -> Any:
            later = self.statuses(name)[count + 1 :]
            return next((status for status in later if status.level == level and word in status.message), None)

        return wait_for(found, f"'{word}' from {name}")

    def settled(self, name: str, received: int) -> dict[str, int]:
        """Return the counters once so many messages were received and none is pending."""

        def read() -> dict[str, int] | None:
            values = {item.key: item.value for item in self.statuses(name)[-1].values}
            counts = {key: int(value) for key, value in values.items() if key.startswith("dropped_")}
            counts |= {key: int(values[key]) for key in ("received", "published", "pending")}
            return counts if counts["received"] == received and counts["pending"] == 0 else None

        counts: dict[str, int] = wait_for(read, f"{received} messages received and none pending")
        return counts


@contextmanager
def node_bench(domain_id: int, folder: Path) -> Iterator[NodeBench]:
    launcher = NodeLauncher(domain_id, folder)
    try:
        with client_in_domain(domain_id) as client:
            yield NodeBench(client, launcher, folder)
    finally:
        launcher.end_all()


def parameters_of_file(path: Path) -> tuple[Mapping[str, Any], str]:
    """The values of a shipped parameter file, flat, and its text without line breaks."""
    text = path.read_text()
    values: dict[str, Any] = {}
    for name, value in yaml.safe_load(text)["/**"]["ros__parameters"].items():
        values |= {f"{name}.{key}": item for key, item in value.items()} if isinstance(value, dict) else {name: value}
    return values, " ".join(text.replace("#", " ").split())


def default_in_file(item: SettingField) -> Any:
    """A default as YAML gives it."""
    return (list(item.default) or [""]) if isinstance(item.default, tuple) else item.default
