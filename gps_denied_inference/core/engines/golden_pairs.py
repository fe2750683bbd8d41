"""Golden inputs of networks that take two images, or the features of two images, and how near an engine comes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import ArchitectureSpec, ColorSpace, OutputKind
from gps_denied_inference.core.engines.onnx_agreement import probe_inputs, row_of_key
from gps_denied_inference.core.imaging import Preprocessor

__all__ = ["compare_pairs", "image_for", "pair_inputs"]

_IMAGE_PAIRS = 2
_MOVED_PX = (16, 24)  # rows and columns that the second image of a pair is rolled by


def image_for(color: ColorSpace, image_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bring an RGB image to the channels that a network takes: (H, W, 3), or (H, W, 1) with Rec. 601 weights."""
    if color is ColorSpace.RGB:
        return image_hwc
    gray = np.rint(image_hwc.astype(np.float64) @ np.array([0.299, 0.587, 0.114]))
    return np.ascontiguousarray(gray[..., np.newaxis], np.uint8)


def pair_inputs(spec: ArchitectureSpec, images_hwc: NDArray[np.uint8]) -> tuple[Mapping[str, NDArray[np.float32]], ...]:
    """Make what a network of two images takes.

    Args:
        spec: of the network.
        images_hwc: uint8, RGB, shape (N, H, W, 3); the first ones are matched with themselves, moved.

    Returns:
        Inputs by name. A network that matches features gets made-up ones, of which it finds most again.
    """
    if spec.output_kind is OutputKind.MATCHES:
        return (probe_inputs(spec),)
    preprocessor = Preprocessor(spec.preprocess)
    pairs = []
    for image_hwc in images_hwc[:_IMAGE_PAIRS]:
        sides = (image_hwc, np.ascontiguousarray(np.roll(image_hwc, _MOVED_PX, axis=(0, 1))))
        # Copies: the preprocessor reuses its result.
        prepared = [preprocessor.prepare(image_for(spec.preprocess.color, side))[0].copy() for side in sides]
        pairs.append({item.name: values for item, values in zip(spec.inputs, prepared, strict=True)})
    return tuple(pairs)


def compare_pairs(
    reference: Mapping[str, NDArray[np.float32]], measured: Mapping[str, NDArray[np.float32]], spec: ArchitectureSpec
) -> tuple[float, float]:
    """Compare the pairs that two runs found.

    Returns:
        Cosine between the scores of all pairs, 0 for a pair that one of them did not find; share of the reference's
        pairs that were found again.
    """
    rows = [row_of_key(outputs, spec) for outputs in (reference, measured)]
    if not rows[0]:
        return (1.0, 1.0) if not rows[1] else (0.0, 0.0)
    keys = sorted(rows[0].keys() | rows[1].keys())
    scores = np.zeros((2, len(keys)))
    for side, outputs in enumerate((reference, measured)):
        for index, key in enumerate(keys):
            if key in rows[side]:
                scores[side, index] = outputs["scores"][0, rows[side][key]]
    lengths = np.linalg.norm(scores[0]) * np.linalg.norm(scores[1])
    cosine = float(scores[0] @ scores[1] / lengths) if lengths > 0 else 0.0
    return cosine, len(rows[0].keys() & rows[1].keys()) / len(rows[0])
