"""`gdi models`: the registered networks."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from gps_denied_inference.cli.console import say, say_json, table
from gps_denied_inference.cli.model_table import model_page, read_measurements, read_onnx_exports
from gps_denied_inference.core.architectures import default_registry, locate_weights
from gps_denied_inference.core.contracts import ArchitectureSpec, OutputKind
from gps_denied_inference.core.errors import EngineBuildError, SettingsError

__all__ = ["add_parser", "run"]

_OUTPUTS = {
    OutputKind.GLOBAL_DESCRIPTOR: "{kind}, {dimension}-D",
    OutputKind.LOCAL_FEATURES: "{kind}, {dimension}-D, at most {rows} keypoints",
    OutputKind.MATCHES: "{kind} between at most {rows} features of {dimension}-D each",
    OutputKind.CORRESPONDENCES: "{kind}, at most {rows}",
}


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("models", help="list the registered networks and where their weights are")
    parser.add_argument("--weights-dir", type=Path, help="folder searched first for checkpoints")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--markdown", action="store_true", help="the page docs/models.md; needs --onnx")
    parser.add_argument(
        "--measurements",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="figures of scripts/measure_models.py for the page; may be given more than once",
    )
    parser.add_argument(
        "--onnx", type=Path, metavar="FILE", help="exports that scripts/measure_onnx.py tried, for the page"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """List them."""
    registry = default_registry()
    if options.markdown:
        if options.onnx is None:
            raise SettingsError("onnx", "", "a file that scripts/measure_onnx.py wrote; --markdown needs it")
        measurements = [read_measurements(path) for path in options.measurements]
        page = model_page(registry, measurements, read_onnx_exports(options.onnx))
        if options.json:
            say_json({"page": page})
        else:
            say(page)
        return 0
    if options.json:
        models = [_fields(name, registry.lookup(name).spec, options.weights_dir) for name in registry]
        say(json.dumps({"models": models}, indent=2))
        return 0
    for name in registry:
        spec = registry.lookup(name).spec
        say(name)
        say(table(_rows(name, spec, options.weights_dir)))
    return 0


def _weights(name: str, spec: ArchitectureSpec, weights_dir: Path | None) -> tuple[str, str]:
    """Path of the weights, or why there is none."""
    try:
        return str(locate_weights(spec, name, weights_dir)), ""
    except EngineBuildError as error:
        return "", str(error)


def _fields(name: str, spec: ArchitectureSpec, weights_dir: Path | None) -> dict[str, Any]:
    path, reason = _weights(name, spec, weights_dir)
    return {
        "model": name,
        "inputs": [{"name": item.name, "shape": list(item.shape), "dtype": item.dtype} for item in spec.inputs],
        "output_kind": spec.output_kind.value,
        "output_names": list(spec.output_names),
        "descriptor_dimension": spec.descriptor_dimension,
        "max_keypoints": spec.max_keypoints,
        "weights": path,
        "weights_missing": reason,
        "is_verified_by_layout_only": spec.is_verified_by_layout_only,
        "size_multiple": spec.size_multiple,
        "onnx_obstacle": spec.onnx_obstacle,
        "license": spec.license,
        "license_restriction": spec.license_restriction,
        "paper": spec.paper,
    }


def _rows(name: str, spec: ArchitectureSpec, weights_dir: Path | None) -> list[tuple[str, str]]:
    inputs = ", ".join(f"{item.name} {list(item.shape)} {item.dtype}" for item in spec.inputs)
    if spec.size_multiple:
        inputs += f"; other sizes, multiples of {spec.size_multiple}, as {name}_HEIGHTxWIDTH"
    output = _OUTPUTS[spec.output_kind].format(
        kind=spec.output_kind.value, dimension=spec.descriptor_dimension, rows=spec.max_keypoints
    )
    path, reason = _weights(name, spec, weights_dir)
    weights = path or f"missing: {reason}"
    if spec.is_verified_by_layout_only:
        weights += " (loading verified by layout only)"
    license_text = spec.license
    if spec.license_restriction:
        license_text += f" ({spec.license_restriction}; refused until accepted)"
    return [
        ("input", inputs),
        ("output", output),
        ("weights", weights),
        ("ONNX", f"no: {spec.onnx_obstacle}" if spec.onnx_obstacle else "yes"),
        ("license", license_text),
        ("paper", spec.paper),
    ]
