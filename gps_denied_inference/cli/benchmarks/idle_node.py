"""Part (e), when no images come: what an active node costs. Needs ROS."""

from __future__ import annotations

import sys
import time

from gps_denied_inference.cli.benchmarks import nodes
from gps_denied_inference.cli.benchmarks.measurement import BenchPlan, Comparison, Role, row_of
from gps_denied_inference.cli.benchmarks.processor_time import processor_seconds

__all__ = ["measure"]

_SETTLE_S = 2.0
_WINDOWS = 5
_BARE_NODE = "import rclpy; rclpy.init(); rclpy.spin(rclpy.create_node('bare'))"


def measure(plan: BenchPlan) -> Comparison:
    """Processor time of nodes that get no images, in percent of a core."""
    with nodes.room(plan.output, has_profile=True) as room:
        with nodes.process((sys.executable, "-c", _BARE_NODE), {}, room) as node:
            bare = _percent(node.pid, plan)
        with nodes.our_node(nodes.model_parameters(plan.output), room) as node:
            ours = _percent(node.pid, plan)
        with nodes.process(nodes.NAIVE_COMMAND, nodes.naive_parameters(plan.output), room) as node:
            naive = _percent(node.pid, plan)
    rows = (
        row_of(Role.LIMIT, "a bare rclpy node", bare),
        row_of(Role.OURS, "our node, active", ours),
        row_of(Role.BASELINE, "naive node", naive),
    )
    return Comparison("no images", "% of a core", rows, aim="aim ≤ 1 %")


def _percent(pid: int, plan: BenchPlan) -> list[float]:
    time.sleep(_SETTLE_S)
    samples = []
    for _ in range(_WINDOWS):
        cpu_s, start = processor_seconds(pid), time.monotonic()
        time.sleep(plan.seconds / 2)
        samples.append(100.0 * (processor_seconds(pid) - cpu_s) / (time.monotonic() - start))
    return samples
