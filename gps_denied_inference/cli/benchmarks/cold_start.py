"""Part (g): start of the process → active, by step. Needs ROS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gps_denied_inference.cli.benchmarks import nodes, start_steps
from gps_denied_inference.cli.benchmarks.engines import onnx_engine
from gps_denied_inference.cli.benchmarks.measurement import BenchPlan, Comparison, PartReport, Role, row_of
from gps_denied_inference.core.errors import ReplayError

__all__ = ["measure"]

_STARTS = 10
_TIMEOUT_S = 60.0
_BARE = """
import sys, time
import cv2, numpy as np
start = time.perf_counter()
import torch
torch_s = time.perf_counter() - start
import onnxruntime, rclpy
import gps_denied_inference.msg, sensor_msgs.msg
rclpy.init()
node = rclpy.create_node("bare")
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
session.run(None, {"image": np.zeros((1, 3, 224, 224), np.float32)})
print(torch_s, flush=True)
"""
_STEPS = ("imports", "gate", "load", "golden", "warm")


def measure(plan: BenchPlan) -> PartReport:
    """Bare start, ours and the naive node, in turn."""
    from gps_denied_inference.ros.lifecycle_client import LifecycleClient

    engine = str(onnx_engine(plan.output).path.resolve())
    parameters = nodes.model_parameters(plan.output)
    starts = 1 if plan.repetitions < 10 else _STARTS
    bare: list[float] = []
    torch_s: list[float] = []
    total: list[float] = []
    naive: list[float] = []
    steps: dict[str, list[float]] = {}
    with nodes.room(plan.output, has_profile=True) as room:
        timed = (sys.executable, "-m", start_steps.__name__, str((room.log / "start_steps.json").resolve()))
        for _ in range(starts):
            duration_s, of_torch_s = _until_printed([sys.executable, "-c", _BARE, engine], room.environment)
            bare.append(duration_s)
            torch_s.append(of_torch_s)
            with nodes.our_node(parameters, room) as node:
                total.append(time.monotonic() - node.started)
            with nodes.process(timed, parameters, room) as node:
                with LifecycleClient("/inference_node", node.check) as client:
                    client.change_state("configure", _TIMEOUT_S)
                    client.change_state("activate", _TIMEOUT_S)
                active = time.monotonic()
            # Written when the process ends.
            for name, seconds in _steps(Path(timed[-1]), node.started, active).items():
                steps.setdefault(name, []).append(seconds)
            naive.append(_until_logged(nodes.naive_parameters(plan.output), room))
    facts = {f"{name}_s": round(float(np.median(values)), 2) for name, values in steps.items()}
    name = "Python, the same imports, a node, ONNX Runtime, one run"
    rows = (
        row_of(Role.LIMIT, name, bare, {"import_of_torch_s": round(float(np.median(torch_s)), 2)}),
        row_of(Role.OURS, "our node: gate, golden outputs, warm-up, active", total, facts),
        row_of(Role.BASELINE, "naive node: nothing checked, nothing warm", naive),
    )
    comparison = Comparison("process start → active", "s", rows, aim="aim ≤ 2.5 s, of which imports ≤ 1 s")
    notes = (
        "the steps are of starts with a clock in the process; 'middleware' is the rest: ROS's own start, discovery, "
        "transitions",
    )
    return PartReport("g", "cold-start", "cold start, EfficientNet-Lite0 in ONNX Runtime", (comparison,), notes)


def _steps(path: Path, started: float, active: float) -> dict[str, float]:
    measured = json.loads(path.read_text())
    steps = {"interpreter": measured["begun"] - started}
    steps |= {name: measured["seconds"].get(name, 0.0) for name in _STEPS}
    return {**steps, "middleware": active - started - sum(steps.values())}


def _until_printed(command: list[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """How long it took, and the number that was printed."""
    start = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=_merged(environment)) as started:
        assert started.stdout is not None
        line = started.stdout.readline()
        duration_s = time.monotonic() - start
    if not line:
        raise ReplayError("the bare start failed; run it by hand: python -c 'import rclpy, onnxruntime'")
    return duration_s, float(line)


def _until_logged(parameters: Mapping[str, str], room: nodes.Room) -> float:
    with nodes.process(nodes.NAIVE_COMMAND, parameters, room) as node:
        log = room.log / "node.log"
        while "ready" not in log.read_text(encoding="utf-8", errors="replace"):
            node.check()
            if time.monotonic() - node.started > _TIMEOUT_S:
                raise ReplayError(f"the naive node was not ready within {_TIMEOUT_S:g} s")
            time.sleep(0.005)
        return time.monotonic() - node.started


def _merged(environment: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, **environment}
