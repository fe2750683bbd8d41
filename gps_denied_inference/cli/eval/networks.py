"""The networks of a row of figures: with published weights, or with random ones."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.architectures import default_registry, locate_weights, require_accepted_license
from gps_denied_inference.core.architectures.install_commands import install_command
from gps_denied_inference.core.contracts import ImageFrame, PrecisionMode
from gps_denied_inference.core.errors import EngineBuildError, LicenseNotAcceptedError
from gps_denied_inference.core.optional import require
from gps_denied_inference.core.settings import EngineSettings, Settings

__all__ = ["Weights", "add_network_options", "chosen_weights", "frame_from_rgb", "network_settings", "weights_obstacle"]

_SEED = 1


class Weights(Enum):
    """Of the networks of a row."""

    PUBLISHED = "published"
    RANDOM = "random"


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Add what every measurement takes."""
    parser.add_argument(
        "--weights",
        choices=["published", "random", "both"],
        default="published",
        help="random: untrained networks of the same shape, to show what the weights do",
    )
    parser.add_argument("--weights-dir", type=Path, help="folder searched first for checkpoints")
    parser.add_argument(
        "--accept-license", action="append", default=[], metavar="NAME", help="restricted licence of weights to accept"
    )
    parser.add_argument("--device", default="cpu", help="cpu, or cuda:N; FP32 on either (default: cpu)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON file; rows that it holds are not repeated")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there as well")


def chosen_weights(options: argparse.Namespace) -> tuple[Weights, ...]:
    """Which of the two are asked for."""
    return tuple(Weights) if options.weights == "both" else (Weights(options.weights),)


def weights_obstacle(model: str, options: argparse.Namespace) -> str:
    """Why published weights of a network cannot be used here; empty when they can.

    Raises:
        UnknownArchitectureError: nobody registered the name.
    """
    spec = default_registry().lookup(model).spec
    try:
        require_accepted_license(model, spec, options.accept_license)
        locate_weights(spec, model, options.weights_dir)
    except (EngineBuildError, LicenseNotAcceptedError) as error:
        return str(error)
    return ""


@contextmanager
def network_settings(model: str, weights: Weights, options: argparse.Namespace, **changes: Any) -> Iterator[Settings]:
    """Settings that load a network in FP32, for the time that its checkpoint is there.

    Args:
        model: a registered name.
        weights: the published ones, or random ones that are the same each time.
        options: of the command.
        changes: of the engine's settings.

    Raises:
        UnknownArchitectureError: nobody registered the name.
        RuntimeNotAvailableError: torch is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="gdi-eval-") as folder:
        checkpoint = None
        accepted = list(options.accept_license)
        if weights is Weights.RANDOM:
            entry = default_registry().lookup(model)
            torch = require("torch", install=install_command("torch"), purpose="a network with random weights")
            torch.manual_seed(_SEED)
            checkpoint = Path(folder) / f"{model}.pt"
            torch.save(entry.build().state_dict(), checkpoint)
            # A licence of weights does not bind those who don't use them.
            accepted.append(entry.spec.license)
        engine = EngineSettings(
            model=model, checkpoint=checkpoint, precision=PrecisionMode.FP32, device=options.device, **changes
        )
        yield Settings(
            engines=(engine,), allow_ungated=True, weights_dir=options.weights_dir, accepted_licenses=tuple(accepted)
        )


def frame_from_rgb(image_rgb: NDArray[np.uint8]) -> ImageFrame:
    """Return the picture as a camera's frame."""
    height, width = image_rgb.shape[:2]
    return ImageFrame(0, "", "rgb8", height, width, 3 * width, False, np.ascontiguousarray(image_rgb).reshape(-1))
