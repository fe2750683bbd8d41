"""Measures every registered network on this computer: `python scripts/measure_models.py --output FILE [MODEL ...]`.

Each runs in a process of its own: PyTorch, batch 1, the declared input shapes, FP32 on a CPU and FP16 on a GPU. Weights
are the published ones where they are installed, else random ones of the same shapes. `gdi models --markdown` reads the
file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from gps_denied_inference.core.architectures import default_registry, locate_weights
from gps_denied_inference.core.contracts import EffectiveConfiguration, PrecisionMode
from gps_denied_inference.core.engines.onnx_agreement import probe_inputs
from gps_denied_inference.core.errors import EngineBuildError

RUNS = 15
MIB = 1024**2


def measure(name: str, device: str, threads: int) -> dict[str, object]:
    import torch

    from gps_denied_inference.core.runtime.torch_checkpoint import state_dict_from_bytes
    from gps_denied_inference.core.runtime.torch_network import TorchNetwork

    if threads:
        torch.set_num_threads(threads)
    entry = default_registry().lookup(name)
    module = entry.build()
    parameters = sum(parameter.numel() for parameter in module.parameters())
    try:
        path = locate_weights(entry.spec, name, None)
        state_dict = state_dict_from_bytes(path.read_bytes(), path.suffix, name)
    except EngineBuildError:
        state_dict = dict(module.state_dict())
    del module
    precision = PrecisionMode.FP32 if device == "cpu" else PrecisionMode.FP16
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    network = TorchNetwork(entry, state_dict, EffectiveConfiguration(precision, precision, device, device, "torch"))
    inputs = probe_inputs(entry.spec)
    durations = []
    for _ in range(RUNS + 3):
        start = time.perf_counter()
        network.forward(inputs)
        durations.append((time.perf_counter() - start) * 1e3)
    memory = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
        if device == "cpu"
        else torch.cuda.max_memory_allocated()
    )
    return {
        "parameters": parameters,
        "latency_ms": round(statistics.median(durations[3:]), 2),
        "memory_mib": round(memory / MIB, 1),
    }


def machine(device: str, threads: int) -> str:
    import torch

    if device != "cpu":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    model = platform.processor() or platform.machine()
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return (
        f"{threads or torch.get_num_threads()} threads of {os.cpu_count()} cores of {model}, torch {torch.__version__}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", help="cpu or cuda:N")
    parser.add_argument("--threads", type=int, default=0, help="of a CPU; 0: as many as PyTorch takes")
    parser.add_argument("--output", help="JSON file to write")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("models", nargs="*", help="default: all")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.child, options.device, options.threads)))
        return
    figures = {}
    for name in options.models or list(default_registry()):
        command = [sys.executable, os.path.abspath(__file__), "--device", options.device, "--child", name]
        command += ["--threads", str(options.threads)]
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
        if finished.returncode:
            print(f"{name}: {finished.stderr.strip().splitlines()[-1]}", file=sys.stderr)
            continue
        figures[name] = json.loads(finished.stdout.splitlines()[-1])
        print(name, figures[name], flush=True)
    report = {
        "machine": machine(options.device, options.threads),
        "measured_at": datetime.now(UTC).strftime("%Y-%m-%d"),
        "precision": "FP32" if options.device == "cpu" else "FP16",
        "models": figures,
    }
    if options.output:
        with open(options.output, "w") as file:
            file.write(json.dumps(report, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
