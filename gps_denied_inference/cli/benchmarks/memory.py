"""Part (h): memory after loading, and what thousands of frames add to it. In processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from gps_denied_inference.cli.benchmarks.engines import MODEL, onnx_engine, store_folder
from gps_denied_inference.cli.benchmarks.measurement import BenchPlan, Comparison, PartReport, Role, Row, row_of
from gps_denied_inference.core.errors import InferenceError

__all__ = ["growth", "measure"]

_WAYS = (
    (Role.LIMIT, "bare", "the bare backend with one input"),
    (Role.OURS, "ours", "our pipeline, frame to descriptor"),
    (Role.BASELINE, "naive", "naive: OpenCV, float numpy, default session or eager torch"),
)
_MIB = 1024.0**2
_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / _MIB
_SAMPLE_PERIOD_S = 0.25
_SHARE_OF_FRAMES = 4
"""The other ways get this share of the frames; their slopes are told for all of them."""
_UNSETTLED = 0.2
"""Share of the samples at the beginning that are left out of the slope: arenas still grow."""


def measure(plan: BenchPlan) -> PartReport:
    """Resident memory in MiB; on a GPU the device's beside it."""
    rows = []
    notes = [f"the other ways worked on {plan.frames // _SHARE_OF_FRAMES} frames"]
    if plan.device == "cpu":
        onnx_engine(plan.output)  # built here, not in the measured processes
    for role, way, name in _WAYS:
        if role is Role.OURS and plan.device == "cpu":
            rows.append(_node_row(plan))
            continue
        frames = plan.frames if role is Role.OURS else max(1, plan.frames // _SHARE_OF_FRAMES)
        rows.append(_child_row(role, name, way, frames, plan))
    if plan.device != "cpu":
        notes.append("the whole node's process is measured by the part on the CPU; here it is its pipeline")
    case = f"resident memory; growth over {plan.frames} frames of 640x480"
    comparison = Comparison(case, "MiB", tuple(rows), aim="growth 0 within noise")
    return PartReport("h", "memory", "memory", (comparison,), tuple(notes))


def growth(samples_mib: list[float], frames: int, plan_frames: int) -> dict[str, float]:
    """Slope of the samples by least squares over the plan's frames, and how far they scatter about it.

    Args:
        samples_mib: at a steady pace while the frames were worked on.
        frames: that were worked on.
        plan_frames: for which the growth is told.
    """
    settled = np.asarray(samples_mib[int(_UNSETTLED * len(samples_mib)) :])
    if settled.size < 3:
        return {}
    done = np.linspace(_UNSETTLED * frames, frames, settled.size)
    slope, offset = np.polyfit(done, settled, 1)
    lower, upper = np.percentile(settled - (slope * done + offset), (25, 75))
    grown, scatter = float(slope) * plan_frames, max(float(upper - lower) / 2, _PAGE_MIB)
    return {
        "growth_mib": round(grown, 3),
        "scatter_mib": round(scatter, 3),
        "growth_in_scatter": round(grown / scatter, 2),
        "at_the_end_mib": round(float(settled[-1]), 2),
    }


def _node_row(plan: BenchPlan) -> Row:
    """The node's real process, fed over DDS as fast as it answers."""
    from gps_denied_inference.cli.benchmarks import nodes
    from gps_denied_inference.cli.benchmarks.traffic import Camera, run_traffic

    camera = Camera(480, 640, "rgb8", 0.0, plan.frames, True)
    parameters = nodes.model_parameters(plan.output, "reliable")
    with nodes.room(plan.output, has_profile=True) as room, nodes.our_node(parameters, room) as node:
        loaded = [_resident_mib(node.pid) for _ in range(5)]
        with _sampled(node.pid) as samples:
            traffic = run_traffic(camera, node.pid, room.environment)
    facts = growth(samples, len(traffic.answers), plan.frames) | {"answers": float(len(traffic.answers))}
    return row_of(Role.OURS, "our node's process, over DDS", loaded, facts)


def _child_row(role: Role, name: str, way: str, frames: int, plan: BenchPlan) -> Row:
    command = [sys.executable, "-m", __name__, way, str(plan.output), str(frames), plan.device]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it is warm
        loaded = [_resident_mib(process.pid) for _ in range(5)] if process.poll() is None else []
        with _sampled(process.pid) as samples:
            printed = process.stdout.readline()  # and no longer: what CUDA does at the exit takes memory, too
        complaint = process.communicate()[1]
    if process.returncode:
        raise InferenceError(f"the memory test of '{way}' failed: {' '.join(complaint.split()[-40:])}")
    facts: dict[str, float] = growth(samples, frames, plan.frames) | json.loads(printed)
    return row_of(role, name, loaded, facts)


@contextmanager
def _sampled(pid: int) -> Iterator[list[float]]:
    """Resident memory of a process, at a steady pace, until it ends or the block does."""
    samples: list[float] = []
    is_over = threading.Event()

    def sample() -> None:
        while not is_over.wait(_SAMPLE_PERIOD_S):
            try:
                samples.append(_resident_mib(pid))
            except (OSError, ValueError):
                return

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        is_over.set()
        thread.join()


def _child(way: str, output: Path, frames: int, device: str) -> None:
    from gps_denied_inference.ros.allocator import keep_large_buffers

    if way != "naive":
        keep_large_buffers()
    step = _step(way, output, device)
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    for _ in range(20):
        step(image)
    on_device = _device_mib(device)
    print("warm", flush=True)
    time.sleep(_SAMPLE_PERIOD_S)
    for _ in range(frames):
        step(image)
    figures = {}
    if device != "cpu":
        figures = {"gpu_mib_loaded": on_device, "gpu_growth_mib": round(_device_mib(device) - on_device, 2)}
    print(json.dumps(figures), flush=True)


def _step(way: str, output: Path, device: str) -> Any:
    if way == "ours":
        return _our_step(output, device)
    if device != "cpu":
        return _torch_step(is_bare=way == "bare", device=device)
    import onnxruntime

    path = str(onnx_engine(output).path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    values = np.zeros((1, 3, 224, 224), np.float32)
    if way == "bare":
        return lambda _image: session.run(None, {"image": values})
    return lambda image: session.run(None, {"image": _naive_input(image)})[0].tolist()


def _naive_input(image: Any) -> Any:
    import cv2

    small = cv2.resize(image, (224, 224)).astype(np.float32)
    return ((small - 127.0) / 128.0).transpose(2, 0, 1)[None].astype(np.float32)


def _our_step(output: Path, device: str) -> Any:
    from gps_denied_inference.core.assembly import assemble_pipeline
    from gps_denied_inference.core.contracts import ImageFrame
    from gps_denied_inference.core.settings import settings_from_mapping

    values: dict[str, object] = {"primary.model": MODEL, "primary.device": device, "allow_ungated": True}
    if device == "cpu":
        values |= {"engine_store": str(store_folder(output)), "primary.runtime": "onnx_trt_ep"}
        values |= {"primary.precision": "fp32", "primary.intra_op_threads": 1}
    pipeline = assemble_pipeline(settings_from_mapping(values))

    def step(image: Any) -> object:
        height, width, channels = image.shape
        return pipeline.process(ImageFrame(0, "", "rgb8", height, width, width * channels, False, image.reshape(-1)))

    return step


def _torch_step(*, is_bare: bool, device: str) -> Any:
    import torch

    from gps_denied_inference.cli.benchmarks.network_call import published_module

    module = published_module().to(device=device, dtype=torch.float16)
    fixed = torch.zeros((1, 3, 224, 224), dtype=torch.float16, device=device)

    def step(image: Any) -> object:
        with torch.inference_mode():
            values = fixed if is_bare else torch.from_numpy(_naive_input(image)).to(device).half()
            return module(values).float().cpu().numpy()

    return step


def _resident_mib(pid: int) -> float:
    """proc(5): the second field of `statm`, in pages."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    resident = pages * os.sysconf("SC_PAGE_SIZE") / _MIB
    if not resident:
        raise ValueError("the process has ended")
    return resident


def _device_mib(device: str) -> float:
    """Of the whole device: what torch's own counters leave out (contexts, libraries) counts, too."""
    if device == "cpu":
        return 0.0
    import torch

    free, total = torch.cuda.mem_get_info(device)
    return round(float(total - free) / _MIB, 2)


if __name__ == "__main__":
    _child(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
