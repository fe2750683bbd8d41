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

__all__ = ["Measurements", "OnnxExports", "model_page", "read_measurements", "read_onnx_exports"]

_PRECISIONS = ("fp32", "fp16")
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


@dataclass(frozen=True, slots=True)
class OnnxExports:
    """Which networks were exported to ONNX and gave what torch gives.

    Attributes:
        measured_at: date.
        packages: versions, by name.
        complaints: by the name of the network and the precision (`fp32`, `fp16`): why the export failed or differed;
            empty when it agreed.
    """

    measured_at: str
    packages: Mapping[str, str]
    complaints: Mapping[str, Mapping[str, str]]


def read_onnx_exports(path: Path) -> OnnxExports:
    """Read what `scripts/measure_onnx.py` wrote.

    Raises:
        SettingsError: the file cannot be read, or is not of that kind.
    """
    try:
        content: Any = json.loads(path.read_text())
        complaints = {
            name: {
                precision: "" if outcomes[precision]["agrees"] else str(outcomes[precision]["reason"])
                for precision in _PRECISIONS
            }
            for name, outcomes in content["onnx"].items()
        }
        packages = {str(package): str(version) for package, version in content["packages"].items()}
        return OnnxExports(str(content["measured_at"]), packages, complaints)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError("onnx", str(path), "a file that scripts/measure_onnx.py wrote") from error


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


def model_page(registry: ArchitectureRegistry, measurements: Sequence[Measurements], exports: OnnxExports) -> str:
    """Write the page; equal arguments give equal text."""
    versions = ", ".join(f"{package} {version}" for package, version in sorted(exports.packages.items()))
    lines = [
        "# Networks",
        "",
        "Written by `gdi models --markdown --measurements FILE … --onnx FILE`; the files are in `docs/measurements`",
        "and come from `scripts/measure_models.py` and `scripts/measure_onnx.py`.",
        "",
        "- *weights*: the package that brings them, or the page where the authors publish them: put the file into",
        "  `weights_dir` as `gdi weights list` says. *Layout only*: loading was verified on checkpoints with the",
        "  published names and shapes, not on the published values.",
        "- A licence in **bold** restricts the use of the weights: the network is refused until `accepted_licenses`",
        "  (or `--accept-license`) names the licence. `LicenseRef-unstated`: no licence was found in the authors'",
        "  repository. All were read there in November 2026.",
        "- The SHA-256 of weights that come in a package is pinned, and of those on a page where public code pins it:",
        "  [below](#sha-256-of-weights-on-a-page). `gdi weights verify` refuses another file, unless `--expect` names",
        "  its SHA-256; where none is known it checks the fit alone, and says so.",
        "- *ONNX*: precisions in which the exported network gave what torch gives in FP32, within the tolerances of",
        "  `gdi engine build`; of layout-only networks with seeded weights. ONNX Runtime on the CPU,",
        f"  {exports.measured_at}: {versions}.",
        "- Times and memory of layout-only networks were measured with random weights: they don't depend on them.",
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
        lines += [_row(_cells(name, registry.lookup(name).spec, measurements, exports)) for name in names]
        lines += ["", *(f"- `{name}`: {registry.lookup(name).spec.paper}." for name in names)]
    return "\n".join([*lines, "", *_hashes(registry)])


def _hashes(registry: ArchitectureRegistry) -> list[str]:
    """The section of weights on a page: what is known of their files, and from where."""
    rows, unknown = [], []
    for name in registry:
        origin = registry.lookup(name).spec.weights
        if origin is None or origin.distribution:
            continue
        if not origin.sha256:
            unknown.append(f"`{name}`")
            continue
        file_name = origin.install.removeprefix("put ").partition(" into ")[0]
        rows.append(_row([f"`{name}`", f"`{file_name}`", f"`{origin.sha256}`", ", ".join(origin.pinned_by)]))
    return [
        "## SHA-256 of weights on a page",
        "",
        "No author publishes one. These are what public repositories, named here, pin for the file that the authors'",
        "page gives; each was read in the repository in November 2026, no file was hashed by us. Of one repository",
        "alone: nobody else was found to confirm it.",
        "",
        _row(["network", "file", "SHA-256", "pinned by"]),
        _row(["---"] * 4),
        *rows,
        "",
        f"None is known of {', '.join(unknown)}.",
    ]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cells(name: str, spec: ArchitectureSpec, measurements: Sequence[Measurements], exports: OnnxExports) -> list[str]:
    figures = [item.models.get(name, {}) for item in measurements]
    parameters = next((item["parameters"] for item in figures if "parameters" in item), None)
    cells = [
        f"`{name}`",
        _input(spec),
        _output(spec),
        "" if parameters is None else f"{parameters / 1e6:.1f} M",
        f"**{spec.license}**" if spec.license_restriction else spec.license,
        _weights(spec),
        _onnx(spec, exports.complaints.get(name)),
    ]
    for item in figures:
        cells += [f"{item['latency_ms']:.1f}", f"{item['memory_mib']:.0f}"] if "latency_ms" in item else ["", ""]
    return cells


def _onnx(spec: ArchitectureSpec, complaints: Mapping[str, str] | None) -> str:
    if spec.onnx_obstacle:
        return f"no: {spec.onnx_obstacle}"
    if complaints is None:
        return "not measured"
    agreeing = [precision.upper() for precision in _PRECISIONS if not complaints[precision]]
    failing = [f"{precision.upper()}: {complaints[precision]}" for precision in _PRECISIONS if complaints[precision]]
    return "; ".join([", ".join(agreeing)] * bool(agreeing) + failing)


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
