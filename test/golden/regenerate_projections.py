"""Writes golden projections anew: `python -m test.golden.regenerate_projections [MODEL ...]`. See README.md here."""

from __future__ import annotations

import json
import sys

from gps_denied_inference.core.architectures import ArchitectureRegistry, entries
from gps_denied_inference.core.engines.onnx_agreement import probe_inputs
from test.golden.inputs import FOLDER
from test.golden.projection import PROJECTIONS_FILE, project
from test.golden.registered import forward, loaded


def main(names: list[str]) -> None:
    path = FOLDER / PROJECTIONS_FILE
    golden = json.loads(path.read_text()) if path.exists() else {}
    registry = ArchitectureRegistry()
    entries.register(registry)
    for name in names or registry:
        entry, module = loaded(name)
        numbers = project(forward(module, entry.spec, probe_inputs(entry.spec)), entry.spec)
        golden[name] = [round(float(number), 5) for number in numbers]
    lines = (f" {json.dumps(name)}: {json.dumps(golden[name])}" for name in sorted(golden))
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
