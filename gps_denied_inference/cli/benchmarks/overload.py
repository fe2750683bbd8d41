"""Part (f): more frames than the network can take: how old are the answers? Needs ROS."""

from __future__ import annotations

import numpy as np

from gps_denied_inference.cli.benchmarks import nodes
from gps_denied_inference.cli.benchmarks.measurement import BenchPlan, Comparison, PartReport, Role, Row, row_of
from gps_denied_inference.cli.benchmarks.traffic import Camera, Traffic, run_traffic

__all__ = ["measure"]

_NETWORK_MS = 60.0
_TARGET = 2.0


def measure(plan: BenchPlan) -> PartReport:
    """A scripted network of known duration, small images, so that nothing else is the bottleneck."""
    comparisons = []
    for load in (1.5, 3.0):
        # Long enough for the naive node's queue of 10 to fill.
        rate_hz = load * 1e3 / _NETWORK_MS
        camera = Camera(480, 640, "mono8", rate_hz, int(rate_hz * max(plan.seconds, 3.0)), False)
        with nodes.room(plan.output, has_profile=False) as room:
            with nodes.our_node(nodes.fake_parameters(plan.output, _NETWORK_MS), room) as node:
                ours = run_traffic(camera, node.pid, room.environment)
            parameters = {"sleep_ms": str(_NETWORK_MS)}
            with nodes.process(nodes.NAIVE_COMMAND, parameters, room) as node:
                naive = run_traffic(camera, node.pid, room.environment)
        rows = (
            row_of(Role.LIMIT, "the network's own time", [answer.infer_ms for answer in ours.answers]),
            _row(Role.OURS, "our node, newest frame wins", ours),
            _row(Role.BASELINE, "naive node, queue of 10", naive),
        )
        comparisons.append(Comparison(f"{load:g} times overload, p95 of the age", "ms", rows, _TARGET))
    return PartReport("f", "overload", "age of the answers under overload", tuple(comparisons))


def _row(role: Role, name: str, traffic: Traffic) -> Row:
    """The 95th percentile in place of the median."""
    ages_ms = [answer.latency_ms for answer in traffic.answers]
    plain = row_of(role, name, ages_ms)
    p95 = float(np.percentile(ages_ms, 95)) if ages_ms else float("nan")
    facts = {"p50": round(plain.median, 1), "answers": float(plain.count), "sent": float(traffic.sent)}
    return Row(role, name, p95, plain.noise, plain.count, facts)
