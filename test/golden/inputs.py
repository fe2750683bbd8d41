"""Inputs of the golden outputs: a real crop and seeded noise, brought to a network's declared input."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import ArchitectureSpec

__all__ = ["FOLDER", "MOVED_BY_PX", "golden_inputs", "golden_pair"]

FOLDER = Path(__file__).parent
MOVED_BY_PX = (24, 16)
_PAIR_SIZE = 192


def golden_inputs(spec: ArchitectureSpec) -> dict[str, NDArray[np.float32]]:
    """Make float32 inputs of the declared shape by name: `crop` (reflected up to size) and `noise`."""
    _, _, height, width = spec.inputs[0].shape
    crop = _crop()
    margins = ((0, height - crop.shape[0]), (0, width - crop.shape[1]), (0, 0))
    noise = np.random.default_rng(2026).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return {"crop": _normalized(np.pad(crop, margins, mode="reflect"), spec), "noise": _normalized(noise, spec)}


def golden_pair() -> dict[str, NDArray[np.float32]]:
    """Two windows (1, 3, 192, 192) of the crop, RGB in 0..1; a point of `crop` lies in `moved` less `MOVED_BY_PX`."""
    left, top = MOVED_BY_PX
    crop = _crop().astype(np.float32).transpose(2, 0, 1)[np.newaxis] / 255.0
    return {
        "crop": np.ascontiguousarray(crop[..., :_PAIR_SIZE, :_PAIR_SIZE]),
        "moved": np.ascontiguousarray(crop[..., top : top + _PAIR_SIZE, left : left + _PAIR_SIZE]),
    }


def _crop() -> NDArray[np.uint8]:
    crop_bgr = cv2.imread(str(FOLDER / "crop.png"), cv2.IMREAD_COLOR)
    if crop_bgr is None:
        raise FileNotFoundError(FOLDER / "crop.png")
    return np.asarray(crop_bgr[..., ::-1], dtype=np.uint8)


def _normalized(image_hwc: NDArray[np.uint8], spec: ArchitectureSpec) -> NDArray[np.float32]:
    mean, std = (np.asarray(values, np.float32) for values in (spec.preprocess.mean, spec.preprocess.std))
    values = (image_hwc.astype(np.float32) - mean) / std
    return np.ascontiguousarray(values.transpose(2, 0, 1)[np.newaxis])
