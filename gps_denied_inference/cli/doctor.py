"""`gdi doctor`: what this computer has, and what keeps the rest from working."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import sys
from pathlib import Path
from typing import Any

import gps_denied_inference
from gps_denied_inference.cli.checks import Check, Level, show_checks
from gps_denied_inference.cli.ros_checks import check_discovery, check_ros, check_shared_memory
from gps_denied_inference.cli.runtime_probe import RuntimeProbe, probe_runtime
from gps_denied_inference.core.architectures import default_registry, locate_weights
from gps_denied_inference.core.contracts import RuntimeLabel
from gps_denied_inference.core.engines.host import HostTuple, gpu_names, probe_host
from gps_denied_inference.core.errors import EngineBuildError
from gps_denied_inference.core.thermal import create_source

__all__ = ["add_parser", "run"]

_OPTIONAL_PACKAGES = (
    ("cryptography", ("cryptography",), "stores cannot be signed, and require_signature refuses every engine"),
    ("cuda-python", ("cuda-python", "cuda-bindings"), "the tensorrt runtime takes its memory through torch"),
)


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "doctor",
        help="tell what works on this computer, and why the rest does not",
        description="Looks at Python, the runtimes, the GPU, ROS, shared memory, weights and thermal telemetry. Ends "
        "with status 0 when at least one runtime can run a network here.",
    )
    parser.add_argument("--weights-dir", type=Path, help="folder searched first for checkpoints")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Look and tell. Returns 1 when no runtime works."""
    host = probe_host()
    probes = [probe_runtime(label, host) for label in RuntimeLabel if label is not RuntimeLabel.FAKE]
    checks = [
        _python(),
        _package(),
        _gpu(host),
        *(_runtime(probe) for probe in probes),
        *(_optional_package(*package) for package in _OPTIONAL_PACKAGES),
        *_weights(options.weights_dir),
        check_ros(),
        check_discovery(),
        check_shared_memory(),
        _thermal(),
    ]
    usable = [probe.label.value for probe in probes if probe.is_usable]
    if not usable:
        checks.append(Check("verdict", Level.FAIL, "no runtime can run a network here; install one of the above"))
    show_checks(checks, as_json=options.json, facts={"usable_runtimes": usable})
    return 0 if usable else 1


def _python() -> Check:
    return Check("Python", Level.OK, f"{platform.python_version()} at {sys.executable}, {platform.machine()}")


def _package() -> Check:
    folder = Path(gps_denied_inference.__file__).parent
    return Check("package", Level.OK, f"gps_denied_inference {gps_denied_inference.__version__} in {folder}")


def _gpu(host: HostTuple) -> Check:
    if not host.sms:
        return Check("GPU", Level.WARN, "no NVIDIA GPU is found; networks run on the CPU, with allow_cpu_fallback")
    parts = [*gpu_names(), f"compute capability {', '.join(host.sms)}", f"CUDA {host.cuda or 'unknown'}"]
    if host.jetpack:
        parts.append(f"JetPack {host.jetpack}")
    return Check("GPU", Level.OK, ", ".join(parts))


def _runtime(probe: RuntimeProbe) -> Check:
    level = Level.FAIL if not probe.is_usable else Level.OK if probe.is_full else Level.WARN
    return Check(f"runtime {probe.label.value}", level, probe.text)


def _optional_package(title: str, distributions: tuple[str, ...], without: str) -> Check:
    for name in distributions:
        try:
            return Check(f"package {title}", Level.OK, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            continue
    return Check(f"package {title}", Level.WARN, f"absent: {without}; pip install {distributions[0]}")


def _weights(weights_dir: Path | None) -> list[Check]:
    registry = default_registry()
    checks = []
    for name in registry:
        try:
            path = locate_weights(registry.lookup(name).spec, name, weights_dir)
        except EngineBuildError as error:
            checks.append(Check(f"weights {name}", Level.WARN, str(error)))
        else:
            checks.append(Check(f"weights {name}", Level.OK, str(path)))
    return checks


def _thermal() -> Check:
    choice = create_source()
    if choice.source is None:
        return Check("thermal", Level.WARN, f"{choice.reason}; throttling will go unseen")
    choice.source.close()
    return Check("thermal", Level.OK, choice.reason)
