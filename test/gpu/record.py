"""Measures the PyTorch runtime on this computer's GPU: `python -m test.gpu.record FOLDER` writes a dated report."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gps_denied_inference.core.contracts import BuildConfig, EngineHandle, PrecisionMode
from gps_denied_inference.core.runtime.pytorch_fp16 import PytorchFp16Runtime
from test.core.runtime.reference_networks import seeded_reference, write_reference_checkpoint
from test.golden.agreement import compare_descriptor, compare_keypoints
from test.golden.inputs import golden_inputs
from test.gpu.published import MIB, OURS, full_registry, load_published

LOADS = 20
FRAMES = 50  # after each load


def machine() -> dict[str, str]:
    """What was measured on."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader", "--id=0"]
    try:
        driver = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split(",")[1].strip()
    except (OSError, subprocess.CalledProcessError, IndexError):
        driver = "unknown"
    return {
        "gpu": torch.cuda.get_device_name(0),
        "driver": driver,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": str(torch.backends.cudnn.version()),
        "python": platform.python_version(),
        "cpu_cores": str(os.cpu_count()),
    }


def percentiles(values_ms: list[float]) -> dict[str, float]:
    """Milliseconds at the usual percentiles."""
    return {f"p{q}": round(float(np.percentile(values_ms, q)), 3) for q in (50, 95, 99)}


def measure_network(name: str) -> dict[str, Any]:
    """Load times, memory, latencies and agreement of one published network, in FP16 and FP32."""
    result: dict[str, Any] = {}
    for precision in (PrecisionMode.FP16, PrecisionMode.FP32):
        with PytorchFp16Runtime(architecture_registry=full_registry()) as runtime:
            result[precision.value] = _measure(runtime, name, precision)
    return result


def _measure(runtime: PytorchFp16Runtime, name: str, precision: PrecisionMode) -> dict[str, Any]:
    load_ms, first_frame_ms, infer_ms = [], [], []
    for _ in range(LOADS):
        start = time.monotonic_ns()
        architecture, handle = load_published(runtime, name, precision)
        load_ms.append((time.monotonic_ns() - start) / 1e6)
        first, *others = _latencies_ms(runtime, handle, golden_inputs(architecture.spec)["crop"])
        first_frame_ms.append(first)
        infer_ms.extend(others)
        runtime.release_engine(handle)
    before = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    architecture, handle = load_published(runtime, name, precision)
    loaded = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    inputs = golden_inputs(architecture.spec)
    agreement = {}
    for key, values in inputs.items():
        outputs = runtime.infer(handle, {"image": values})
        compared: Any = (
            compare_descriptor(outputs["descriptor"][0], key)
            if "descriptor" in outputs
            else compare_keypoints(outputs, key)
        )
        agreement[key] = {field: round(getattr(compared, field), 7) for field in compared.__dataclass_fields__}
    runtime.release_engine(handle)
    released = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    return {
        "load_ms": percentiles(load_ms),
        "first_load_ms": round(load_ms[0], 1),
        "first_frame_ms": percentiles(first_frame_ms),
        "infer_ms": percentiles(infer_ms),
        "memory_mib_allocated_reserved": {
            label: [round(value / MIB, 2) for value in pair]
            for label, pair in (("before", before), ("loaded", loaded), ("released", released))
        },
        "agreement_with_fp32_on_the_cpu": agreement,
    }


def _latencies_ms(runtime: PytorchFp16Runtime, handle: EngineHandle, image: Any) -> list[float]:
    latencies = []
    for _ in range(FRAMES):
        start = time.monotonic_ns()
        runtime.infer(handle, {"image": image})
        latencies.append((time.monotonic_ns() - start) / 1e6)
    return latencies


def measure_reference(folder: Path) -> dict[str, float]:
    """Largest error of the small reference network against FP32 on the CPU, over 100 inputs."""
    checkpoint = write_reference_checkpoint(folder)
    errors = {}
    for precision in (PrecisionMode.FP16, PrecisionMode.FP32):
        with PytorchFp16Runtime(architecture_registry=full_registry()) as runtime:
            handle = runtime.deserialize_engine(runtime.compile_engine(checkpoint, BuildConfig(precision=precision)))
            worst = 0.0
            for seed in range(100):
                image = np.random.default_rng(seed).standard_normal((1, 3, 32, 32), dtype=np.float32)
                with torch.no_grad():
                    expected = seeded_reference()(torch.tensor(image)).numpy()
                worst = max(
                    worst, float(np.abs(runtime.infer(handle, {"image": image})["descriptor"] - expected).max())
                )
            errors[precision.value] = worst
    checkpoint.unlink()
    return errors


def report(measured: dict[str, Any]) -> str:
    """The measurements as a page."""
    lines = [f"# Runtime `pytorch_fp16` on {measured['machine']['gpu']}, {measured['date']}", ""]
    lines += [", ".join(f"{key} {value}" for key, value in measured["machine"].items()) + ".", ""]
    lines += [
        "PyTorch, replayed from CUDA graphs where the network can be recorded, batch 1, "
        f"{LOADS} loads, {FRAMES} frames after each; `infer` from numpy to numpy, both copies",
        "included; milliseconds. Agreement is with FP32 on the CPU (`test/golden`).",
        "",
        "| network | precision | load p50/p95 (first) | infer p50/p95/p99 | first p50/p95 | MiB before/with/after |",
        "|---|---|---|---|---|---|",
    ]
    for name in OURS:
        for precision, row in measured["networks"][name].items():
            load, infer, first = row["load_ms"], row["infer_ms"], row["first_frame_ms"]
            memory = "/".join(str(pair[0]) for pair in row["memory_mib_allocated_reserved"].values())
            lines.append(
                f"| {name} | {precision} | {load['p50']}/{load['p95']} ({row['first_load_ms']}) | "
                f"{infer['p50']}/{infer['p95']}/{infer['p99']} | {first['p50']}/{first['p95']} | {memory} |"
            )
    lines += ["", "| network | precision | input | agreement |", "|---|---|---|---|"]
    for name in OURS:
        for precision, row in measured["networks"][name].items():
            for key, values in row["agreement_with_fp32_on_the_cpu"].items():
                shown = ", ".join(f"{field} {value}" for field, value in values.items())
                lines.append(f"| {name} | {precision} | {key} | {shown} |")
    errors = measured["reference_max_error"]
    lines += ["", f"Small reference network, largest error over 100 inputs: FP16 {errors['fp16']:.2e}, "]
    lines[-1] += f"FP32 {errors['fp32']:.2e}."
    return "\n".join(lines) + "\n"


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    measured = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "networks": {name: measure_network(name) for name in OURS},
        "reference_max_error": measure_reference(folder),
    }
    stem = f"{measured['date']}-pytorch-fp16"
    (folder / f"{stem}.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    (folder / f"{stem}.md").write_text(report(measured), encoding="utf-8")
    print(report(measured))


if __name__ == "__main__":
    main()
