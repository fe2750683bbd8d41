"""The page of all networks, in Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gps_denied_inference.core.architectures import ArchitectureRegistry
from gps_denied_inference.core.contracts import ArchitectureSpec, OutputKind
from gps_denied_inference.core.errors import SettingsError

__all__ = ["Measurements", "model_page", "read_measurements"]

_TITLES = {
    OutputKind.GLOBAL_DESCRIPTOR: "Place recognition: one vector an image",
    OutputKind.LOCAL_FEATURES: "Local features",
    OutputKind.MATCHES: "Matchers of local features",
    OutputKind.CORRESPONDENCES: "Matchers of images",
}


@dataclass(frozen=True, slots=True)
class Measurements:
    """Figures of one computer.

    Attributes:
        machine: what was measured on.
        measured_at: date.
        precision: of the arithmetic.
        models: figures by the name of the network: `parameters`, `latency_ms`, `memory_mib`.
    """

    machine: str
    measured_at: str
    precision: str
    models: Mapping[str, Mapping[str, float]]


def read_measurements(path: Path) -> Measurements:
    """Read what `scripts/measure_models.py` wrote.

    Raises:
        SettingsError: the file cannot be read, or is not of that kind.
    """
    try:
        content: Any = json.loads(path.read_text())
        return Measurements(
            str(content["machine"]), str(content["measured_at"]), str(content["precision"]), dict(content["models"])
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError("measurements", str(path), "a file that scripts/measure_models.py wrote") from error


def model_page(registry: ArchitectureRegistry, measurements: Sequence[Measurements]) -> str:
    """Write the page; equal arguments give equal text."""
    lines = [
        "# Networks",
        "",
        "Written by `gdi models --markdown --measurements FILE …`; the files are in `docs/measurements` and come from",
        "`scripts/measure_models.py`.",
        "",
        "- *weights*: the package that brings them, or the page where the authors publish them: put the file into",
        "  `weights_dir` as `gdi weights list` says. *Layout only*: loading was verified on checkpoints with the",
        "  published names and shapes, not on the published values.",
        "- A licence in **bold** restricts the use of the weights: the network is refused until `accepted_licenses`",
        "  (or `--accept-license`) names the licence. `LicenseRef-unstated`: no licence was found in the authors'",
        "  repository. All were read there in November 2026.",
        "- *ONNX*: the network exports and agrees with PyTorch, in FP32 and FP16; of layout-only networks with random",
        "  weights. Those of `efficient_loftr` agree in FP32. In FP16 ONNX Runtime finds 488 of torch's 495 points",
        "  again, within 0.02 px, but with confidences that differ by up to 0.2 (0.06 for nine of ten): export in FP16",
        "  is refused unless published weights, which are surer, pass the check. Times and memory were measured with",
        "  random weights: they don't depend on them.",
    ]
    for number, item in enumerate(measurements, 1):
        lines.append(
            f"- *ms {number}*, *MiB {number}*: median time of one forward pass, and memory, in {item.precision} with "
            f"batch 1 on {item.machine}; {item.measured_at}."
        )
    for kind, title in _TITLES.items():
        names = [name for name in registry if registry.lookup(name).spec.output_kind is kind]
        header = ["network", "input", "output", "parameters", "licence", "weights", "ONNX"]
        header += [f"{unit} {number}" for number in range(1, len(measurements) + 1) for unit in ("ms", "MiB")]
        lines += ["", f"## {title}", "", _row(header), _row(["---"] * len(header))]
        lines += [_row(_cells(name, registry.lookup(name).spec, measurements)) for name in names]
        lines += ["", *(f"- `{name}`: {registry.lookup(name).spec.paper}." for name in names)]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cells(name: str, spec: ArchitectureSpec, measurements: Sequence[Measurements]) -> list[str]:
    figures = [item.models.get(name, {}) for item in measurements]
    parameters = next((item["parameters"] for item in figures if "parameters" in item), None)
    cells = [
        f"`{name}`",
        _input(spec),
        _output(spec),
        "" if parameters is None else f"{parameters / 1e6:.1f} M",
        f"**{spec.license}**" if spec.license_restriction else spec.license,
        _weights(spec),
        f"no: {spec.onnx_obstacle}" if spec.onnx_obstacle else "yes",
    ]
    for item in figures:
        cells += [f"{item['latency_ms']:.1f}", f"{item['memory_mib']:.0f}"] if "latency_ms" in item else ["", ""]
    return cells


def _input(spec: ArchitectureSpec) -> str:
    if spec.output_kind is OutputKind.MATCHES:
        features = f" of {', '.join(f'`{name}`' for name in spec.feature_models)}" if spec.feature_models else ""
        return f"2 × {spec.max_keypoints} × {spec.descriptor_dimension}-D{features}"
    images = "2 × " if spec.output_kind is OutputKind.CORRESPONDENCES else ""
    preprocess = spec.preprocess
    return f"{images}{preprocess.width}×{preprocess.height} {preprocess.color.value}"


def _output(spec: ArchitectureSpec) -> str:
    if spec.output_kind is OutputKind.GLOBAL_DESCRIPTOR:
        return f"{spec.descriptor_dimension}-D"
    if spec.output_kind is OutputKind.LOCAL_FEATURES:
        return f"{spec.max_keypoints} × {spec.descriptor_dimension}-D"
    return f"up to {spec.max_keypoints} pairs"


def _weights(spec: ArchitectureSpec) -> str:
    origin = spec.weights
    if origin is None:
        return "yours"
    place = f"`{origin.distribution}`" if origin.distribution else f"[page]({origin.url})"
    return place + (", layout only" if spec.is_verified_by_layout_only else "")
