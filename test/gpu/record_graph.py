"""Measures replayed networks on this computer's GPU: `python -m test.gpu.record_graph FILE` writes the figures.

Each network in FP16 with random weights (time does not depend on them): `PytorchFp16Runtime.infer`'s network call by
call and replayed, against the limit: a bare graph of the module, copies from and to pinned memory beside it, nothing
else. All three take turns in one loop.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gps_denied_inference.core.architectures import ArchitectureEntry, default_registry
from gps_denied_inference.core.contracts import EffectiveConfiguration, PrecisionMode
from gps_denied_inference.core.runtime.cuda_graph import CudaGraph
from gps_denied_inference.core.runtime.input_validation import validate_inputs
from gps_denied_inference.core.runtime.torch_network import TorchNetwork
from gps_denied_inference.core.runtime.torch_outputs import named_tensors
from test.gpu.record import machine, percentiles

NETWORKS = (
    "efficientnet_lite0_grid",
    "xfeat",
    "dinov2_vits14",
    "dinov2_vits14",
    "eigenplaces_resnet18",
    "superpoint",
)
FRAMES, UNTIMED = 300, 30


def _network(entry: ArchitectureEntry, recorder: Any) -> TorchNetwork:
    plain = ArchitectureEntry(entry.name, entry.factory, entry.spec, None)
    configuration = EffectiveConfiguration(
        PrecisionMode.FP16, PrecisionMode.FP16, "cuda:0", "cuda:0", f"torch {torch.__version__}"
    )
    network = TorchNetwork(plain, plain.build().state_dict(), configuration, recorder=recorder)
    network.warm_up()
    return network


def _limit(entry: ArchitectureEntry) -> Callable[[], None]:
    """A graph of the bare module in FP16, and pinned copies, on one stream."""
    module = entry.build().eval().requires_grad_(False).cuda().half().to(memory_format=torch.channels_last)
    item = entry.spec.inputs[0]
    host = torch.zeros(item.shape, pin_memory=True)
    image = torch.zeros(item.shape, device="cuda")
    stream = torch.cuda.Stream()
    with torch.inference_mode(), torch.cuda.stream(stream):
        for _ in range(3):
            outputs = named_tensors(
                module(image.half().contiguous(memory_format=torch.channels_last)), entry.spec.output_names
            )
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            outputs = named_tensors(
                module(image.half().contiguous(memory_format=torch.channels_last)), entry.spec.output_names
            )
            outputs = {name: output.float() for name, output in outputs.items()}
        results = {name: torch.empty(output.shape, pin_memory=True) for name, output in outputs.items()}

    def run() -> None:
        with torch.inference_mode(), torch.cuda.stream(stream):
            image.copy_(host, non_blocking=True)
            graph.replay()
            for name, output in outputs.items():
                results[name].copy_(output, non_blocking=True)
        stream.synchronize()

    return run


def measure(entry: ArchitectureEntry) -> dict[str, Any]:
    """Milliseconds of each way, and ratios of the medians to the limit."""
    item = entry.spec.inputs[0]
    values: Mapping[str, Any] = {item.name: np.random.default_rng(0).standard_normal(item.shape, dtype=np.float32)}
    eager, replayed = _network(entry, None), _network(entry, CudaGraph)

    def infer(network: TorchNetwork) -> None:
        validate_inputs(entry.spec.inputs, values)
        network.forward(values)

    ways: dict[str, Callable[[], None]] = {"call by call": lambda: infer(eager), "infer": lambda: infer(replayed)}
    refusal = replayed.recording_refusal
    if not refusal:
        ways["limit"] = _limit(entry)
    times: dict[str, list[float]] = {way: [] for way in ways}
    for frame in range(FRAMES + UNTIMED):
        for way, run in ways.items():
            start_ns = time.perf_counter_ns()
            run()
            if frame >= UNTIMED:
                times[way].append((time.perf_counter_ns() - start_ns) / 1e6)
    result: dict[str, Any] = {way: percentiles(values_ms) for way, values_ms in times.items()}
    if not refusal:
        result["infer / limit"] = round(result["infer"]["p50"] / result["limit"]["p50"], 3)
    result["shape"], result["refusal"] = list(item.shape), refusal
    return result


def main(path: Path) -> None:
    registry, figures = default_registry(), {}
    for name in NETWORKS:
        if name not in registry:
            continue
        try:
            figures[name] = measure(registry.lookup(name))
        except Exception as error:  # the others are still worth their time
            figures[name] = {"error": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
        print(name, figures[name], flush=True)
        path.write_text(json.dumps({"machine": machine(), "networks": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
