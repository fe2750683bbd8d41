"""What `BuildConfig.extras` may say to a TensorRT build, read once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gps_denied_inference.core.errors import EngineBuildError

__all__ = ["TensorrtBuildOptions"]

_SM = re.compile(r"[0-9]{2,3}")


@dataclass(frozen=True, slots=True)
class TensorrtBuildOptions:
    """Options of a build; in `extras` each stands under its name, as text.

    Attributes:
        output_dir: folder that gets the engine; that of the ONNX file, when None.
        sms: compute capabilities to compile for (`"86,89"`); the GPU of this computer, when empty.
        workspace_mib: memory that TensorRT may use while it tries kernels; its own limit, when 0.
        timing_cache: file with measured kernels, read and extended: shortens the next build.
        calibration_images: `.npy` file of prepared inputs, float32: INT8 by calibration (TensorRT 10 only).
        calibration_cache: file with what the calibration found; beside the ONNX file, when None.
        jetpack: version of this computer's JetPack, which an engine for its GPU then needs; empty elsewhere.
    """

    output_dir: Path | None = None
    sms: tuple[str, ...] = ()
    workspace_mib: int = 0
    timing_cache: Path | None = None
    calibration_images: Path | None = None
    calibration_cache: Path | None = None
    jetpack: str = ""

    @classmethod
    def from_extras(cls, extras: Mapping[str, str]) -> TensorrtBuildOptions:
        """Read the options; other names are for others.

        Raises:
            EngineBuildError: a value is malformed.
        """
        sms = {part.strip() for part in extras.get("sms", "").split(",") if part.strip()}
        wrong = sorted(sm for sm in sms if not _SM.fullmatch(sm))
        if wrong:
            raise EngineBuildError(f"'{wrong[0]}' is no compute capability; write it without the point, as in 86,89")
        workspace = extras.get("workspace_mib", "0")
        if not (workspace.isascii() and workspace.isdigit()):
            raise EngineBuildError(f"workspace_mib is '{workspace}'; give a whole number of mebibytes")
        return cls(
            output_dir=_path(extras, "output_dir"),
            sms=tuple(sorted(sms, key=int)),
            workspace_mib=int(workspace),
            timing_cache=_path(extras, "timing_cache"),
            calibration_images=_path(extras, "calibration_images"),
            calibration_cache=_path(extras, "calibration_cache"),
            jetpack=extras.get("jetpack", ""),
        )


def _path(extras: Mapping[str, str], name: str) -> Path | None:
    return Path(extras[name]) if extras.get(name) else None
