"""Part (e): whole nodes over DDS in two processes: stamp → answer heard, less the network's own time. Needs ROS."""

from __future__ import annotations

import sys
import time

import numpy as np

from gps_denied_inference.cli.benchmarks import frame_on_gpu, nodes
from gps_denied_inference.cli.benchmarks.measurement import (
    BenchPlan,
    Comparison,
    Contender,
    PartReport,
    Role,
    Row,
    in_turn,
    row_of,
)
from gps_denied_inference.cli.benchmarks.traffic import Camera, Traffic, processor_seconds, run_traffic
from gps_denied_inference.core.contracts import ColorSpace, PreprocessSpec
from gps_denied_inference.core.imaging import Preprocessor

__all__ = ["measure"]

_HEIGHT, _WIDTH, _RATE_HZ = 1080, 1920, 30.0
_SETTLE_S = 2.0
_IDLE_WINDOWS = 3
_BARE_NODE = "import rclpy; rclpy.init(); rclpy.spin(rclpy.create_node('bare'))"


def measure(plan: BenchPlan) -> PartReport:
    """Best effort and reliable, default transport and our profile, the naive node; on a GPU one process without DDS."""
    if plan.device != "cpu":
        return frame_on_gpu.measure(plan)
    rows = [_limit(plan)]
    for role, reliability, has_profile in (
        (Role.OURS, "best_effort", True),
        (Role.ALTERNATIVE, "reliable", True),
        (Role.ALTERNATIVE, "best_effort", False),
        (Role.ALTERNATIVE, "reliable", False),
    ):
        with (
            nodes.room(plan.output, has_profile=has_profile) as room,
            nodes.our_node(nodes.model_parameters(plan.output, reliability), room) as node,
        ):
            traffic = run_traffic(_camera(plan, reliability), node.pid, room.environment)
        rows.append(_row(role, f"our node, {_described(reliability, has_profile)}", traffic))
    for role, has_profile in ((Role.BASELINE, False), (Role.ALTERNATIVE, True)):
        with (
            nodes.room(plan.output, has_profile=has_profile) as room,
            nodes.process(nodes.NAIVE_COMMAND, nodes.naive_parameters(plan.output), room) as node,
        ):
            traffic = run_traffic(_camera(plan, "best_effort"), node.pid, room.environment)
        rows.append(_row(role, f"naive node, {_described('best_effort', has_profile)}", traffic))
    case = f"{_WIDTH}x{_HEIGHT} rgb8 at {_RATE_HZ:g} Hz to a descriptor"
    aim = "aim p50 ≤ 4 ms, p95 ≤ 7 ms, every frame, CPU beside the model ≤ 9 %"
    notes = ("the answer is heard in the camera's process, so its way back is inside the figures",)
    comparisons = (Comparison(case, "ms", tuple(rows), aim=aim), _idle(plan))
    return PartReport("e", "node", "stamp → answer, less the model", comparisons, notes)


def _idle(plan: BenchPlan) -> Comparison:
    """Processor time of nodes that get no images."""
    with nodes.room(plan.output, has_profile=True) as room:
        with nodes.process((sys.executable, "-c", _BARE_NODE), {}, room) as node:
            bare = _idle_percent(node.pid, plan)
        with nodes.our_node(nodes.model_parameters(plan.output), room) as node:
            ours = _idle_percent(node.pid, plan)
        with nodes.process(nodes.NAIVE_COMMAND, nodes.naive_parameters(plan.output), room) as node:
            naive = _idle_percent(node.pid, plan)
    rows = (
        row_of(Role.LIMIT, "a bare rclpy node", bare),
        row_of(Role.OURS, "our node, active", ours),
        row_of(Role.BASELINE, "naive node", naive),
    )
    return Comparison("no images", "% of a core", rows, aim="aim ≤ 1 %")


def _idle_percent(pid: int, plan: BenchPlan) -> list[float]:
    time.sleep(_SETTLE_S)
    samples = []
    for _ in range(_IDLE_WINDOWS):
        cpu_s, start = processor_seconds(pid), time.monotonic()
        time.sleep(plan.seconds / 2)
        samples.append(100.0 * (processor_seconds(pid) - cpu_s) / (time.monotonic() - start))
    return samples


def _camera(plan: BenchPlan, reliability: str) -> Camera:
    return Camera(_HEIGHT, _WIDTH, "rgb8", _RATE_HZ, plan.seconds, reliability == "reliable")


def _described(reliability: str, has_profile: bool) -> str:
    return f"{reliability.replace('_', ' ')}, {'our profile' if has_profile else 'default transport'}"


def _row(role: Role, name: str, traffic: Traffic) -> Row:
    overheads = traffic.overhead_ms()
    p95, p99 = np.percentile(overheads, (95, 99)) if overheads else (np.nan, np.nan)
    facts = {
        "inside_the_node": round(float(np.median(traffic.node_ms or [np.nan])), 2),
        "p95": round(float(p95), 2),
        "p99": round(float(p99), 2),
        "received": float(len(overheads)),
        "sent": float(traffic.sent),
        "cpu_percent_beside_model": round(traffic.cpu_percent_beside_model(), 1),
    }
    return row_of(role, name, overheads, facts)


def _limit(plan: BenchPlan) -> Row:
    """What no transport can leave out: into shared memory, out of it, and the resize."""
    image = np.random.default_rng(0).integers(0, 256, (_HEIGHT, _WIDTH, 3), np.uint8)
    segment, received = np.empty_like(image), np.empty_like(image)
    preprocessor = Preprocessor(PreprocessSpec(224, 224, ColorSpace.RGB, (127.0,) * 3, (128.0,) * 3))

    def run() -> None:
        np.copyto(segment, image)
        np.copyto(received, segment)
        preprocessor.prepare(received)

    (row,) = in_turn([Contender(Role.LIMIT, "two copies of the frame and its preprocessing", run)], plan)
    return row
