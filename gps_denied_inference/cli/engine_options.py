"""Command-line options that choose an engine, and the settings they mean."""

from __future__ import annotations

import argparse
from pathlib import Path

from gps_denied_inference.core.contracts import PrecisionMode, RuntimeLabel
from gps_denied_inference.core.settings import Settings, settings_from_mapping

__all__ = ["add_engine_options", "settings_from_options"]


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of one engine, with the defaults of the settings."""
    group = parser.add_argument_group("engine")
    group.add_argument("--runtime", choices=[label.value for label in RuntimeLabel], default="pytorch_fp16")
    group.add_argument("--model", default="efficientnet_lite0_grid", help="a name that 'gdi models' lists")
    group.add_argument("--checkpoint", type=Path, help="its weights; default: --weights-dir, then installed packages")
    group.add_argument("--weights-dir", type=Path, help="folder searched first for MODEL.safetensors, .pt or .pth")
    group.add_argument(
        "--accept-license", action="append", default=[], metavar="NAME", help="restricted licence of weights to accept"
    )
    group.add_argument("--precision", choices=[mode.value for mode in PrecisionMode], default="fp16")
    group.add_argument("--device", default="cuda:0", help="cuda:N or cpu (default cuda:0)")
    group.add_argument(
        "--no-cpu-fallback", action="store_true", help="refuse, rather than run FP32 on the CPU, without the device"
    )


def settings_from_options(options: argparse.Namespace) -> Settings:
    """Return validated settings. A bare checkpoint is allowed: this is a desk, not a vehicle.

    Raises:
        SettingsError: a wrong value.
    """
    return settings_from_mapping(
        {
            "weights_dir": str(options.weights_dir or ""),
            "allow_cpu_fallback": not options.no_cpu_fallback,
            "allow_ungated": True,
            "accepted_licenses": options.accept_license,
            "primary.runtime": options.runtime,
            "primary.model": options.model,
            "primary.checkpoint": str(options.checkpoint or ""),
            "primary.precision": options.precision,
            "primary.device": options.device,
        }
    )
