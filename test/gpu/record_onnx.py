"""Measures the CUDA provider of ONNX Runtime: `python -m test.gpu.record_onnx FOLDER` writes a dated report.

Needs onnxruntime-gpu in place of onnxruntime, and CUDA builds of torch and its libraries.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime as ort
import torch  # imported first of all that loads CUDA: it brings the libraries that the provider needs
from numpy.typing import NDArray

from gps_denied_inference.core.architectures import ArchitectureEntry, locate_weights
from gps_denied_inference.core.contracts import BuildConfig, EngineHandle, OutputKind, PrecisionMode
from gps_denied_inference.core.engines.onnx_export import export_onnx
from gps_denied_inference.core.errors import GpsDeniedInferenceError
from gps_denied_inference.core.runtime import InferenceRuntime
from gps_denied_inference.core.runtime.onnx_trt_ep import OnnxTrtEpRuntime
from gps_denied_inference.core.runtime.pytorch_fp16 import PytorchFp16Runtime
from test.golden.inputs import golden_inputs
from test.gpu.published import OURS, full_registry
from test.gpu.record import machine, percentiles

FRAMES = 500
WARM_FRAMES = 20


def measure_network(name: str, precision: PrecisionMode, folder: Path) -> dict[str, Any]:
    """Placement, latencies beside eager torch, and agreement with FP32 on the CPU."""
    entry = full_registry().lookup(name)
    weights = locate_weights(entry.spec, name, None)
    model = export_onnx(entry, weights, precision, folder / f"{name}_{precision.value}.onnx").path
    exact = export_onnx(entry, weights, PrecisionMode.FP32, folder / f"{name}_exact.onnx").path
    inputs = golden_inputs(entry.spec)
    expected = {
        key: _outputs(OnnxTrtEpRuntime(device="cpu"), exact, name, PrecisionMode.FP32, image)
        for key, image in inputs.items()
    }
    with PytorchFp16Runtime() as eager:
        _, handle = _load(eager, weights, name, precision)
        eager_ms = _latencies_ms(eager, handle, inputs["crop"])
    strict_refusal = ""
    with OnnxTrtEpRuntime(providers=("cuda",)) as strict:
        try:
            _load(strict, model, name, precision)
        except GpsDeniedInferenceError as error:
            strict_refusal = str(error)
    with OnnxTrtEpRuntime(providers=("cuda", "cpu"), allow_cpu_fallback=True) as runtime:
        load_ms, handle = _load(runtime, model, name, precision)
        session: Any = runtime._networks.get(handle)._session
        placement = Counter(
            part.ep_name for part in session.get_provider_graph_assignment_info() for _ in part.get_nodes()
        )
        cuda_ms = _latencies_ms(runtime, handle, inputs["crop"])
        agreement = {
            key: _agreement(entry, expected[key], runtime.infer(handle, {"image": image}))
            for key, image in inputs.items()
        }
    return {
        "providers": session.get_providers(),
        "placement": dict(placement),
        "effective_device": handle.configuration.effective_device,
        "effective_precision": handle.configuration.effective_precision.value,
        "fallback_reason": handle.configuration.fallback_reason,
        "refused_without_fallback": strict_refusal,
        "load_ms": round(load_ms, 1),
        "infer_ms": percentiles(cuda_ms),
        "eager_torch_infer_ms": percentiles(eager_ms),
        "agreement_with_fp32_on_the_cpu": agreement,
    }


def _load(runtime: InferenceRuntime, path: Path, name: str, precision: PrecisionMode) -> tuple[float, EngineHandle]:
    entry = runtime.compile_engine(path, BuildConfig(precision, extras={"model_name": name}))
    start = time.monotonic_ns()
    handle = runtime.deserialize_engine(entry)
    return (time.monotonic_ns() - start) / 1e6, handle


def _outputs(
    runtime: InferenceRuntime, path: Path, name: str, precision: PrecisionMode, image: NDArray[np.float32]
) -> Mapping[str, NDArray[np.float32]]:
    return runtime.infer(_load(runtime, path, name, precision)[1], {"image": image})


def _latencies_ms(runtime: InferenceRuntime, handle: EngineHandle, image: NDArray[np.float32]) -> list[float]:
    latencies = []
    for _ in range(WARM_FRAMES + FRAMES):
        start = time.monotonic_ns()
        runtime.infer(handle, {"image": image})
        latencies.append((time.monotonic_ns() - start) / 1e6)
    return latencies[WARM_FRAMES:]


def _agreement(
    entry: ArchitectureEntry, expected: Mapping[str, NDArray[np.float32]], found: Mapping[str, NDArray[np.float32]]
) -> dict[str, float]:
    if entry.spec.output_kind is OutputKind.GLOBAL_DESCRIPTOR:
        return {"cosine": round(_cosine(expected["descriptor"][0], found["descriptor"][0]), 7)}
    rows = [
        {
            tuple(pixel): row
            for row, pixel in enumerate(outputs["keypoints"][0].tolist())
            if outputs["scores"][0, row] > 0
        }
        for outputs in (expected, found)
    ]
    cosines = [
        _cosine(expected["descriptors"][0, rows[0][pixel]], found["descriptors"][0, rows[1][pixel]])
        for pixel in rows[0].keys() & rows[1].keys()
    ]
    return {
        "repeated": round(len(cosines) / len(rows[0]), 4),
        "mean_cosine": round(float(np.mean(cosines)), 7),
        "min_cosine": round(min(cosines), 7),
    }


def _cosine(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    return float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))


def report(measured: dict[str, Any]) -> str:
    """The measurements as a page."""
    lines = [f"# Runtime `onnx_trt_ep`, CUDA provider, on {measured['machine']['gpu']}, {measured['date']}", ""]
    lines += [", ".join(f"{key} {value}" for key, value in measured["machine"].items()) + ".", ""]
    lines += [
        f"Batch 1, {FRAMES} frames after {WARM_FRAMES}; `infer` from numpy to numpy, both copies included;",
        "milliseconds, p50/p95/p99. Eager torch is `pytorch_fp16` in the same precision.",
        "Agreement is with FP32 on the CPU.",
        "",
        "| network | precision | runs on | nodes | load | infer | eager torch |",
        "|---|---|---|---|---|---|---|",
    ]
    rows = measured["networks"]
    for row in rows:
        infer, eager = (
            "/".join(str(value) for value in row[key].values()) for key in ("infer_ms", "eager_torch_infer_ms")
        )
        nodes = ", ".join(f"{count} {provider}" for provider, count in row["placement"].items())
        lines.append(
            f"| {row['network']} | {row['precision']} | {row['effective_device']} in {row['effective_precision']} | "
            f"{nodes} | {row['load_ms']} | {infer} | {eager} |"
        )
    lines += ["", "| network | precision | input | agreement |", "|---|---|---|---|"]
    for row in rows:
        for key, values in row["agreement_with_fp32_on_the_cpu"].items():
            shown = ", ".join(f"{field} {value}" for field, value in values.items())
            lines.append(f"| {row['network']} | {row['precision']} | {key} | {shown} |")
    lines.append("")
    for row in rows:
        title = f"`{row['network']}` in {row['precision']}: session providers {', '.join(row['providers'])}. "
        said = row["fallback_reason"] or "nothing fell back"
        refused = row["refused_without_fallback"] or "loads as well"
        lines += [f"- {title}Fallback: {said}. Without leave to fall back: {refused}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    networks = []
    with TemporaryDirectory() as scratch:
        for name in OURS:
            for precision in (PrecisionMode.FP32, PrecisionMode.FP16):
                measured = measure_network(name, precision, Path(scratch))
                networks.append({"network": name, "precision": precision.value, **measured})
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {**machine(), "onnxruntime": ort.__version__},
        "networks": networks,
    }
    stem = f"{result['date']}-onnx-trt-ep-cuda"
    (folder / f"{stem}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (folder / f"{stem}.md").write_text(report(result), encoding="utf-8")
    print(report(result))


if __name__ == "__main__":
    if not torch.cuda.is_available():
        sys.exit("needs a CUDA GPU")
    main()
