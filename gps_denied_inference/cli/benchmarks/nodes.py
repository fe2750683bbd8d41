"""Starts the nodes that the parts compare: ours, and the one a user would write. Needs ROS."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gps_denied_inference.cli.benchmarks.engines import onnx_engine, store_folder
from gps_denied_inference.cli.demonstration.live import own_domain, require_ros
from gps_denied_inference.cli.demonstration.node_process import NodeProcess
from gps_denied_inference.cli.demonstration.shared_memory import segments_removed
from gps_denied_inference.core.errors import ReplayError
from gps_denied_inference.ros.transport_profile import PROFILE_VARIABLES, large_image_profile

__all__ = [
    "NAIVE_COMMAND",
    "Room",
    "fake_parameters",
    "model_parameters",
    "naive_parameters",
    "our_node",
    "process",
    "require_ros",
    "room",
]

NAIVE_COMMAND = (sys.executable, "-m", "gps_denied_inference.ros.naive_node")
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Room:
    """A DDS domain of its own.

    Attributes:
        environment: of processes in it.
        log: folder.
    """

    environment: Mapping[str, str]
    log: Path


@contextmanager
def room(output: Path, *, has_profile: bool) -> Iterator[Room]:
    """A domain for one run; this process and those it starts have the profile for large images, or have not."""
    log = output / "log"
    log.mkdir(parents=True, exist_ok=True)
    profile = large_image_profile() if has_profile else None
    value = "" if profile is None else str(profile)
    before = {name: os.environ.get(name) for name in PROFILE_VARIABLES}
    with segments_removed(), own_domain(log) as domain:
        os.environ.update(dict.fromkeys(PROFILE_VARIABLES, value))
        try:
            yield Room({**domain, **dict.fromkeys(PROFILE_VARIABLES, value)}, log)
        finally:
            for name, old in before.items():
                os.environ.pop(name, None)
                if old is not None:
                    os.environ[name] = old


@contextmanager
def process(command: Path | tuple[str, ...], parameters: Mapping[str, str], where: Room) -> Iterator[NodeProcess]:
    """Start a node; an error tells its last words."""
    with NodeProcess(command, parameters, where.log / "node.log", where.environment) as node:
        try:
            yield node
        except ReplayError as error:
            raise ReplayError(f"{error}; the node's last words: {node.last_words()}") from error


@contextmanager
def our_node(parameters: Mapping[str, str], where: Room) -> Iterator[NodeProcess]:
    """Start the inference node and bring it to active."""
    from gps_denied_inference.ros.lifecycle_client import LifecycleClient

    with process(require_ros(), parameters, where) as node:
        with LifecycleClient("/inference_node", node.check) as client:
            client.change_state("configure", _TIMEOUT_S)
            client.change_state("activate", _TIMEOUT_S)
        yield node


def model_parameters(output: Path, reliability: str = "best_effort") -> dict[str, str]:
    """Of our node with the default network in ONNX Runtime, on one thread of the CPU."""
    onnx_engine(output)
    return {
        "engine_store": str(store_folder(output).resolve()),
        "primary.runtime": "onnx_trt_ep",
        "primary.precision": "fp32",
        "primary.device": "cpu",
        "primary.intra_op_threads": "1",
        "input_reliability": reliability,
    }


def fake_parameters(output: Path, latency_ms: float) -> dict[str, str]:
    """Of our node with a network that takes this long."""
    script = output / "fake.yaml"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(f"latency_ms: {latency_ms}\n")
    return {"primary.runtime": "fake", "primary.checkpoint": str(script.resolve()), "allow_ungated": "true"}


def naive_parameters(output: Path, reliability: str = "best_effort") -> dict[str, str]:
    """Of the naive node with the same network."""
    return {"engine": str(onnx_engine(output).path.resolve()), "reliability": reliability}
