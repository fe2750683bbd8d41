"""The node in a process of its own, fed with the flight over DDS."""

from __future__ import annotations

import importlib
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from gps_denied_inference.cli.demonstration.flight_bag import IMAGE_TOPIC
from gps_denied_inference.cli.demonstration.localization import Localization
from gps_denied_inference.cli.demonstration.node_process import NodeProcess, find_node_executable
from gps_denied_inference.cli.demonstration.shared_memory import segments_removed
from gps_denied_inference.core.errors import ReplayError, RuntimeNotAvailableError
from gps_denied_inference.core.evaluation import RefinementLog
from gps_denied_inference.core.pipeline import FrameCounts
from gps_denied_inference.core.replay import BagReader

if TYPE_CHECKING:
    from gps_denied_inference.ros.candidate_refinement import CandidateRefinement

__all__ = ["LiveRun", "own_domain", "require_ros", "run_live"]

_FIRST_LOCK_PORT = 29000
_START_TIMEOUT_S = 60.0
_CONFIGURE_TIMEOUT_S = 60.0
_ACTIVATE_TIMEOUT_S = 15.0
_SETTLE_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class LiveRun:
    """What the replay saw of the node.

    Attributes:
        frames_in: images sent.
        counts: the node's own, over the replay.
        sent_ns: steady clock of each image's sending, by stamp.
        received_ns: steady clock of each descriptor's arrival, by stamp.
        cold_start_s: start of the process → active.
        exit_status: of the node, after SIGINT.
        interruption: why the replay ended early; empty when it did not.
        refinement: what was seen of the nodes that refine positions; empty without them.
        refinement_counts: their counters, by topic of the health or name of the diagnostic task.
        failed_nodes: of these, name and exit status where it is not 0.
    """

    frames_in: int
    counts: FrameCounts
    sent_ns: dict[int, int]
    received_ns: dict[int, int]
    cold_start_s: float
    exit_status: int
    interruption: str
    refinement: RefinementLog = field(default_factory=RefinementLog)
    refinement_counts: Mapping[str, FrameCounts] = field(default_factory=dict)
    failed_nodes: Mapping[str, int] = field(default_factory=dict)

    def latency_by_stamp_ms(self) -> dict[int, float]:
        """Return image handed to DDS → descriptor received, milliseconds."""
        return {stamp: (received - self.sent_ns[stamp]) / 1e6 for stamp, received in self.received_ns.items()}


def require_ros() -> Path:
    """Return the node's executable, when it and rclpy are there.

    Raises:
        ReplayError: the package is not built or not sourced.
        RuntimeNotAvailableError: rclpy or our messages cannot be imported.
    """
    executable = find_node_executable()
    try:
        importlib.import_module("gps_denied_inference.ros.lifecycle_client")
        importlib.import_module("gps_denied_inference.ros.live_replay")
    except ImportError as error:
        raise RuntimeNotAvailableError(
            f"the demo needs ROS 2 and the built package ({error}); run 'make setup' and '. ./env.sh'"
        ) from error
    return executable


def run_live(
    executable: Path,
    parameters: dict[str, str],
    flight_bag: Path,
    output_bag: Path,
    log_folder: Path,
    show: Callable[[int], None],
    *,
    rate: float = 1.0,
    localization: Localization | None = None,
) -> LiveRun:
    """Start the node, bring it up, replay the flight to it, and end it.

    Args:
        executable: of the node.
        parameters: of the node, beside transport and simulated time.
        flight_bag: what to replay.
        output_bag: takes what the node publishes; must not exist.
        log_folder: takes the node's log.
        show: called with the number of images sent so far.
        rate: pace of the replay; 1.0 is that of the recording.
        localization: nodes behind this one, which make positions of what it publishes.

    Raises:
        ReplayError: the node did not come up or answer in time; tells its last words.
    """
    from gps_denied_inference.ros.lifecycle_client import LifecycleClient
    from gps_denied_inference.ros.live_replay import LiveReplayOptions, replay_live

    parameters = {"image_transport": "compressed", "use_sim_time": "true", **parameters}
    with segments_removed(), own_domain(log_folder) as environment, ExitStack() as processes:
        node = processes.enter_context(
            NodeProcess(executable, parameters, log_folder / "inference_node.log", environment)
        )
        try:
            with LifecycleClient("/inference_node", node.check) as client:
                client.change_state("configure", _START_TIMEOUT_S + _CONFIGURE_TIMEOUT_S)
                client.change_state("activate", _ACTIVATE_TIMEOUT_S)
            cold_start_s = monotonic() - node.started
            others, refinement = _localize(localization, log_folder, environment, processes)
            with BagReader(flight_bag) as reader:
                topic = reader.choose_image_topic(IMAGE_TOPIC)
                options = LiveReplayOptions(rate=rate, output=output_bag)
                settle = (lambda: None) if refinement is None else (lambda: refinement.settle(_SETTLE_TIMEOUT_S))
                report = replay_live(reader, topic, options, on_frame=show, settle=settle)
            for process in (node, *others.values()):
                process.check()
        except ReplayError as error:
            raise ReplayError(f"{error}; the node's last words: {node.last_words()}") from error
        log, counts = (RefinementLog(), {}) if refinement is None else (refinement.log, refinement.counts())
        exit_status = node.stop()
        statuses = {name: process.stop() for name, process in others.items()}
    if report.counts is None:
        raise ReplayError(
            f"the node fell silent after {len(report.received)} of {len(report.sent)} frames, so they cannot be "
            "accounted for; look for a program that removes files from /dev/shm, and run again"
        )
    return LiveRun(
        frames_in=len(report.sent),
        counts=report.counts,
        sent_ns={frame.stamp_ns: frame.sent_ns for frame in report.sent},
        received_ns={answer.stamp_ns: answer.received_ns for answer in report.received},
        cold_start_s=cold_start_s,
        exit_status=exit_status,
        interruption=report.interruption,
        refinement=log,
        refinement_counts=counts,
        failed_nodes={name: status for name, status in statuses.items() if status},
    )


def _localize(
    localization: Localization | None, log_folder: Path, environment: Mapping[str, str], processes: ExitStack
) -> tuple[dict[str, NodeProcess], CandidateRefinement | None]:
    """Start the nodes behind the first one, and what connects them."""
    from gps_denied_inference.ros.candidate_refinement import CandidateRefinement
    from gps_denied_inference.ros.lifecycle_client import LifecycleClient

    if localization is None:
        return {}, None
    started = {}
    for spec in localization.nodes:
        log = log_folder / f"{spec.name.strip('/').replace('/', '_')}.log"
        # Threads of a product of matrices wait by spinning, which takes the cores from the networks.
        variables = {**environment, "OMP_NUM_THREADS": "1"}
        process = NodeProcess(spec.executable, spec.parameters, log, variables, spec.remappings)
        started[spec.name] = processes.enter_context(process)
    for name, process in started.items():
        with LifecycleClient(name, process.check) as client:
            try:
                client.change_state("configure", _START_TIMEOUT_S + _CONFIGURE_TIMEOUT_S)
                client.change_state("activate", _ACTIVATE_TIMEOUT_S)
            except ReplayError as error:
                raise ReplayError(f"{error}; last words of {name}: {process.last_words()}") from error
    refinement = processes.enter_context(CandidateRefinement(localization.topics, candidates=localization.candidates))
    refinement.connect(_START_TIMEOUT_S)
    return started, refinement


@contextmanager
def own_domain(log_folder: Path) -> Iterator[dict[str, str]]:
    """Put this process and the node into a DDS domain of their own, on this machine only."""
    with _reserved_domain() as domain_id:
        variables = {
            "ROS_DOMAIN_ID": str(domain_id),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "ROS_LOG_DIR": str(log_folder),
        }
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            yield variables
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


@contextmanager
def _reserved_domain() -> Iterator[int]:
    """Reserve a domain that no other demo or test run on this machine uses: a bound port stands for it."""
    # 0 is everybody's; above 100 Fast DDS's ports can clash with the ephemeral ones of Linux.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as lock:
        for domain_id in range(100, 0, -1):
            try:
                lock.bind(("127.0.0.1", _FIRST_LOCK_PORT + domain_id))
            except OSError:
                continue
            yield domain_id
            return
    raise ReplayError("every DDS domain from 1 to 100 is reserved by other runs on this machine; wait for them to end")
