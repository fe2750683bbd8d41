"""Part (g): start of the process → active, by step. Needs ROS."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from gps_denied_inference.cli.benchmarks import nodes
from gps_denied_inference.cli.benchmarks.engines import onnx_engine
from gps_denied_inference.cli.benchmarks.measurement import BenchPlan, Comparison, PartReport, Role, row_of
from gps_denied_inference.core.errors import ReplayError

__all__ = ["measure"]

_STARTS = 3
_TIMEOUT_S = 60.0
_READY = re.compile(r"ready in ([\d.]+) s")
_BARE = """
import sys
import numpy as np
import onnxruntime, rclpy
rclpy.init()
node = rclpy.create_node("bare")
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
session.run(None, {"image": np.zeros((1, 3, 224, 224), np.float32)})
print("ready", flush=True)
"""
_IMPORTS = """
import time
start = time.perf_counter()
import rclpy
import gps_denied_inference.ros.inference_node
print(time.perf_counter() - start)
"""


def measure(plan: BenchPlan) -> PartReport:
    """Bare start, ours and the naive node, in turn."""
    from gps_denied_inference.ros.lifecycle_client import LifecycleClient

    engine = str(onnx_engine(plan.output).path.resolve())
    parameters = nodes.model_parameters(plan.output)
    starts = 1 if plan.repetitions < 10 else _STARTS
    bare: list[float] = []
    total: list[float] = []
    naive: list[float] = []
    steps: dict[str, list[float]] = {"imports": [], "to_service": [], "configure": [], "activate": []}
    with nodes.room(plan.output, has_profile=True) as room:
        for _ in range(starts):
            bare.append(_until_printed([sys.executable, "-c", _BARE, engine], room.environment))
            steps["imports"].append(float(_output([sys.executable, "-c", _IMPORTS], room.environment)))
            with nodes.process(nodes.require_ros(), parameters, room) as node:
                with LifecycleClient("/inference_node", node.check) as client:
                    client.change_state("configure", _TIMEOUT_S)
                    configured = time.monotonic()
                    client.change_state("activate", _TIMEOUT_S)
                    active = time.monotonic()
                configure_s = _configure_seconds(room.log / "node.log")
                steps["to_service"].append(configured - node.started - configure_s)
                steps["configure"].append(configure_s)
                steps["activate"].append(active - configured)
                total.append(active - node.started)
            naive.append(_until_logged(nodes.naive_parameters(plan.output), room))
    facts = {f"{name}_s": round(sorted(values)[len(values) // 2], 2) for name, values in steps.items()}
    rows = (
        row_of(Role.LIMIT, "Python, rclpy, a node, ONNX Runtime, one run", bare),
        row_of(Role.OURS, "our node: gate, golden outputs, warm-up, active", total, facts),
        row_of(Role.BASELINE, "naive node: nothing checked, nothing warm", naive),
    )
    comparison = Comparison("process start → active", "s", rows, aim="aim ≤ 2.5 s, of which imports ≤ 1 s")
    return PartReport("g", "cold-start", "cold start, EfficientNet-Lite0 in ONNX Runtime", (comparison,))


def _configure_seconds(log: Path) -> float:
    found = _READY.search(log.read_text(encoding="utf-8", errors="replace"))
    if found is None:
        raise ReplayError(f"{log} does not tell how long configure took")
    return float(found.group(1))


def _until_printed(command: list[str], environment: Mapping[str, str]) -> float:
    start = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=_merged(environment)) as started:
        assert started.stdout is not None
        line = started.stdout.readline()
        duration_s = time.monotonic() - start
    if not line:
        raise ReplayError("the bare start failed; run it by hand: python -c 'import rclpy, onnxruntime'")
    return duration_s


def _until_logged(parameters: Mapping[str, str], room: nodes.Room) -> float:
    with nodes.process(nodes.NAIVE_COMMAND, parameters, room) as node:
        log = room.log / "node.log"
        while "ready" not in log.read_text(encoding="utf-8", errors="replace"):
            node.check()
            if time.monotonic() - node.started > _TIMEOUT_S:
                raise ReplayError(f"the naive node was not ready within {_TIMEOUT_S:g} s")
            time.sleep(0.005)
        return time.monotonic() - node.started


def _output(command: list[str], environment: Mapping[str, str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, env=_merged(environment)).stdout


def _merged(environment: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, **environment}
