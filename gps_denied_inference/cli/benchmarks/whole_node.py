"""Part (e): whole nodes over DDS in two processes: stamp → published, less the network's own time. Needs ROS."""

from __future__ import annotations

import time

import numpy as np

from gps_denied_inference.cli.benchmarks import frame_on_gpu, idle_node, node_alone, nodes
from gps_denied_inference.cli.benchmarks.engines import onnx_engine
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
from gps_denied_inference.cli.benchmarks.torch_threads import one_torch_thread
from gps_denied_inference.cli.benchmarks.traffic import Camera, Traffic, run_traffic
from gps_denied_inference.core.contracts import ColorSpace, PreprocessSpec
from gps_denied_inference.core.imaging import Preprocessor
from gps_denied_inference.core.runtime.onnx_network import SessionThreads, make_session

__all__ = ["measure"]

_HEIGHT, _WIDTH, _RATE_HZ = 1080, 1920, 30.0
_FIRST_FRAME_TARGET = 1.5
"""The first real frame may take this much longer than the 99th percentile of the others."""

_OUR_RUNS = (
    (Role.OURS, "best_effort", True),
    (Role.ALTERNATIVE, "reliable", True),
    (Role.ALTERNATIVE, "best_effort", False),
    (Role.ALTERNATIVE, "reliable", False),
)
_NAIVE_RUNS = ((Role.BASELINE, False), (Role.ALTERNATIVE, True))


def measure(plan: BenchPlan) -> PartReport:
    """Best effort and reliable, default transport and our profile, the naive node; on a GPU one process without DDS."""
    if plan.device != "cpu":
        return frame_on_gpu.measure(plan)
    model_cpu_s = _model_cpu_seconds(plan)
    ours: list[tuple[Role, str, Traffic]] = []
    for role, reliability, has_profile in _OUR_RUNS:
        with (
            nodes.room(plan.output, has_profile=has_profile) as room,
            nodes.our_node(nodes.model_parameters(plan.output, reliability), room) as node,
        ):
            traffic = run_traffic(_camera(plan, reliability), node.pid, room.environment)
        ours.append((role, f"our node, {_described(reliability, has_profile)}", traffic))
    naive: list[tuple[Role, str, Traffic]] = []
    for role, has_profile in _NAIVE_RUNS:
        with (
            nodes.room(plan.output, has_profile=has_profile) as room,
            nodes.process(nodes.NAIVE_COMMAND, nodes.naive_parameters(plan.output), room) as node,
        ):
            traffic = run_traffic(_camera(plan, "best_effort"), node.pid, room.environment)
        naive.append((role, f"naive node, {_described('best_effort', has_profile)}", traffic))
    rows = [_limit(plan), *(_row(*run, model_cpu_s) for run in (*ours, *naive))]
    case = f"{_WIDTH}x{_HEIGHT} rgb8 at {_RATE_HZ:g} Hz to a descriptor"
    aim = "aim p50 ≤ 4 ms, p95 ≤ 7 ms, every frame, CPU beside the model ≤ 9 %"
    notes = (
        "stamp → published ends with the answer's source timestamp in DDS; 'heard' adds its way back to the camera",
        "'sender' is what publishing cost the camera: it is inside stamp → published, and no part of the node",
        f"the network by itself takes {model_cpu_s * 1e3:.2f} ms of processor, measured at {_RATE_HZ:g} Hz",
    )
    comparisons = (
        Comparison(case, "ms", tuple(rows), aim=aim),
        node_alone.measure(plan, ours[0][2], naive[-1][2], (_HEIGHT, _WIDTH, 3)),
        _first_frame([run[2] for run in ours], [run[2] for run in naive]),
        idle_node.measure(plan),
    )
    return PartReport("e", "node", "stamp → published, less the model", comparisons, notes)


def _camera(plan: BenchPlan, reliability: str) -> Camera:
    return Camera(_HEIGHT, _WIDTH, "rgb8", _RATE_HZ, int(_RATE_HZ * plan.seconds), reliability == "reliable")


def _described(reliability: str, has_profile: bool) -> str:
    return f"{reliability.replace('_', ' ')}, {'our profile' if has_profile else 'default transport'}"


def _row(role: Role, name: str, traffic: Traffic, model_cpu_s: float) -> Row:
    overheads = traffic.overhead_ms()
    p95, p99 = np.percentile(overheads, (95, 99)) if overheads else (np.nan, np.nan)
    heard = [answer.heard_after_ms - answer.infer_ms for answer in traffic.answers]
    facts = {
        "p95": round(float(p95), 2),
        "p99": round(float(p99), 2),
        "received": float(len(overheads)),
        "sent": float(traffic.sent),
        "cpu_percent_beside_model": round(traffic.cpu_percent_beside(model_cpu_s), 1),
        "cpu_percent": round(traffic.cpu_percent(), 1),
        "inside_the_node": round(float(np.median(traffic.inside_ms() or [np.nan])), 2),
        "sender": round(float(np.median(traffic.sender_ms)), 2),
        "heard": round(float(np.median(heard or [np.nan])), 2),
    }
    return row_of(role, name, overheads, facts)


def _first_frame(ours: list[Traffic], naive: list[Traffic]) -> Comparison:
    """Reception → end of postprocessing, the network included, of each run that answered its first image."""

    def first(runs: list[Traffic]) -> list[float]:
        return [run.answers[0].total_ms for run in runs if run.answers]

    others = [answer.total_ms for run in ours for answer in run.answers[1:]]
    limit = row_of(Role.LIMIT, "99th percentile of our later frames", others)
    p99 = float(np.percentile(others, 99)) if others else np.nan
    rows = (
        Row(limit.role, limit.name, p99, limit.noise, limit.count),
        row_of(Role.OURS, "our node, first frame of each run", first(ours)),
        row_of(Role.BASELINE, "naive node, first frame of each run", first(naive)),
    )
    return Comparison("first frame, reception to the end of postprocessing", "ms", rows, _FIRST_FRAME_TARGET)


def _model_cpu_seconds(plan: BenchPlan) -> float:
    """Processor time of the bare network for one frame, at the camera's rate: pauses cool caches and clocks."""
    session = make_session(
        onnx_engine(plan.output).path.read_bytes(), [("CPUExecutionProvider", {})], SessionThreads(1)
    )
    values = {"image": np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)}
    samples = []
    for turn in range(plan.warm_up + plan.repetitions):
        time.sleep(1.0 / _RATE_HZ - 0.01)
        start_ns = time.thread_time_ns()
        session.run(None, values)
        if turn >= plan.warm_up:
            samples.append((time.thread_time_ns() - start_ns) / 1e9)
    return float(np.median(samples))


def _limit(plan: BenchPlan) -> Row:
    """What no transport can leave out: into shared memory, out of it, and the resize."""
    image = np.random.default_rng(0).integers(0, 256, (_HEIGHT, _WIDTH, 3), np.uint8)
    segment, received = np.empty_like(image), np.empty_like(image)
    preprocessor = Preprocessor(PreprocessSpec(224, 224, ColorSpace.RGB, (127.0,) * 3, (128.0,) * 3))

    def run() -> None:
        np.copyto(segment, image)
        np.copyto(received, segment)
        preprocessor.prepare(received)

    with one_torch_thread():
        (row,) = in_turn([Contender(Role.LIMIT, "two copies of the frame and its preprocessing", run)], plan)
    return row
