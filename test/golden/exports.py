"""Registered networks, exported to ONNX with published weights or, where none can be installed, with seeded ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from gps_denied_inference.core.architectures import ArchitectureEntry, locate_weights
from gps_denied_inference.core.contracts import PrecisionMode
from gps_denied_inference.core.engines.onnx_export import export_onnx
from gps_denied_inference.core.errors import EngineBuildError
from test.golden.seeded_checkpoints import seeded_checkpoint

__all__ = ["PRECISIONS", "checkpoint_of", "export_outcome"]

PRECISIONS = (PrecisionMode.FP32, PrecisionMode.FP16)


def checkpoint_of(entry: ArchitectureEntry, folder: Path) -> Path:
    """The installed checkpoint of a network, or one that is written into `folder`.

    Raises:
        EngineBuildError: the published weights come with a package that is not installed.
    """
    if not entry.spec.is_verified_by_layout_only:
        return locate_weights(entry.spec, entry.name, None)
    path = folder / f"{entry.name}.safetensors"
    if not path.exists():
        save_file({key: np.ascontiguousarray(value) for key, value in seeded_checkpoint(entry.name).items()}, path)
    return path


def export_outcome(entry: ArchitectureEntry, precision: PrecisionMode, folder: Path) -> dict[str, Any]:
    """Export a network, run it with ONNX Runtime on the CPU, and compare it with FP32 torch.

    Returns:
        `agrees`, with `max_abs_error` where it does and `reason` where it does not.
    """
    try:
        checkpoint = checkpoint_of(entry, folder)
        export = export_onnx(entry, checkpoint, precision, folder / f"{entry.name}_{precision.value}.onnx")
    except EngineBuildError as error:
        return {"agrees": False, "reason": str(error)}
    export.path.unlink()
    return {"agrees": True, "max_abs_error": float(f"{export.max_abs_error:.2g}")}
