"""Part (h): memory after loading, and what thousands of frames add to it. In processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from gps_denied_inference.cli.benchmarks.engines import MODEL, onnx_engine, store_folder
from gps_denied_inference.cli.benchmarks.measurement import BenchPlan, Comparison, PartReport, Role, Row
from gps_denied_inference.core.errors import InferenceError

__all__ = ["measure"]

_WAYS = (
    (Role.LIMIT, "bare", "the bare backend with one input"),
    (Role.OURS, "ours", "our pipeline, frame to descriptor"),
    (Role.BASELINE, "naive", "naive: OpenCV, float numpy, default session or eager torch"),
)
_MIB = 1024.0**2


def measure(plan: BenchPlan) -> PartReport:
    """Resident memory in MiB; on a GPU the device's beside it."""
    if plan.device == "cpu":
        onnx_engine(plan.output)  # built here, not in the measured processes
    rows = []
    for role, way, name in _WAYS:
        command = [sys.executable, "-m", __name__, way, str(plan.output), str(plan.frames), plan.device]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InferenceError(f"the memory test of '{way}' failed: {' '.join(done.stderr.split()[-40:])}")
        figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        rows.append(Row(role, name, figures.pop("resident_mib_loaded"), 0.0, plan.frames, figures))
    case = f"resident memory after loading; growth over {plan.frames} frames of 640x480"
    comparison = Comparison(case, "MiB", tuple(rows), aim="growth 0 within noise")
    return PartReport("h", "memory", "memory", (comparison,))


def _child(way: str, output: Path, frames: int, device: str) -> None:
    from gps_denied_inference.ros.allocator import keep_large_buffers

    if way != "naive":
        keep_large_buffers()
    step = _step(way, output, device)
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    for _ in range(20):
        step(image)
    loaded = _resident_mib()
    on_device = _device_mib(device)
    for _ in range(frames // 2):
        step(image)
    half = _resident_mib()
    for _ in range(frames - frames // 2):
        step(image)
    end = _resident_mib()
    figures = {
        "resident_mib_loaded": loaded,
        "growth_mib": round(end - loaded, 2),
        "growth_mib_second_half": round(end - half, 2),
    }
    if device != "cpu":
        figures |= {"gpu_mib_loaded": on_device, "gpu_growth_mib": round(_device_mib(device) - on_device, 2)}
    print(json.dumps(figures))


def _step(way: str, output: Path, device: str) -> Any:
    if way == "ours":
        return _our_step(output, device)
    if device != "cpu":
        return _torch_step(is_bare=way == "bare", device=device)
    import onnxruntime

    path = str(onnx_engine(output).path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
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


def _resident_mib() -> float:
    from gps_denied_inference.core.health import resident_bytes

    return round(resident_bytes() / _MIB, 2)


def _device_mib(device: str) -> float:
    """Of the whole device: what torch's own counters leave out (contexts, libraries) counts, too."""
    if device == "cpu":
        return 0.0
    import torch

    free, total = torch.cuda.mem_get_info(device)
    return round(float(total - free) / _MIB, 2)


if __name__ == "__main__":
    _child(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
