"""Exports every registered network to ONNX: `python scripts/measure_onnx.py --output FILE [MODEL ...]`.

Each runs in a process of its own, in FP32 and FP16: torch's export, then ONNX Runtime on the CPU beside FP32 torch, on
seeded inputs, within the tolerances of `gdi engine build`. Weights are the published ones where they are installed,
else seeded ones of the published layout (test/golden). Takes ten minutes. `gdi models --markdown --onnx` reads it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from gps_denied_inference.core.architectures import ArchitectureRegistry, entries
from gps_denied_inference.core.engines.onnx_export import OPSET

PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime")


def measure(name: str) -> dict[str, object]:
    from test.golden.exports import PRECISIONS, export_outcome

    entry = registry().lookup(name)
    weights = "seeded, in the published layout" if entry.spec.is_verified_by_layout_only else "published"
    with TemporaryDirectory(prefix="gdi-onnx-") as folder:
        outcomes = {precision.value: export_outcome(entry, precision, Path(folder)) for precision in PRECISIONS}
    return {"weights": weights, **outcomes}


def registry() -> ArchitectureRegistry:
    ours = ArchitectureRegistry()
    entries.register(ours)
    return ours


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("models", nargs="*", help="default: all")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.child)))
        return
    outcomes = {}
    for name in options.models or list(registry()):
        finished = subprocess.run(
            [sys.executable, os.path.abspath(__file__), "--child", name], capture_output=True, text=True, check=False
        )
        if finished.returncode:
            parser.exit(1, f"{name}: {finished.stderr.strip()}\n")
        outcomes[name] = json.loads(finished.stdout.splitlines()[-1])
        print(name, outcomes[name], flush=True)
    report = {
        "measured_at": datetime.now(UTC).strftime("%Y-%m-%d"),
        "opset": OPSET,
        "packages": {package: version(package) for package in PACKAGES},
        "onnx": outcomes,
    }
    if options.output:
        options.output.write_text(json.dumps(report, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
