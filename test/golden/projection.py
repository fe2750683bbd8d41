"""A few numbers that stand for what a network gave: small enough to keep for every network, wrong when it is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import ArchitectureSpec, OutputKind

__all__ = ["NUMBERS", "PROJECTIONS_FILE", "TOLERANCE", "project"]

NUMBERS = 32
PROJECTIONS_FILE = "projections.json"
TOLERANCE = {
    # Rounding in another order, on another CPU, turns a unit vector by some 1e-5.
    OutputKind.GLOBAL_DESCRIPTOR: 1e-3,
    # It may also turn a tie of two keypoints or matches; each moves the numbers by 1/√K, 0.02 of 2048.
    OutputKind.LOCAL_FEATURES: 0.1,
    OutputKind.MATCHES: 0.1,
    OutputKind.CORRESPONDENCES: 0.1,
}
"""Largest difference of a number; those of an unrelated output differ by about 1."""

_SEED = 2026


def project(outputs: Mapping[str, NDArray[np.float32]], spec: ArchitectureSpec) -> NDArray[np.float64]:
    """Project outputs to `NUMBERS` numbers with a spread of about 1, in which the order of rows does not matter.

    A global descriptor is multiplied with random vectors. Of the other kinds, waves of random direction and length over
    the image are read where the keypoints lie and summed; descriptors at keypoints are multiplied, too.
    """
    generator = np.random.default_rng(_SEED)
    if spec.output_kind is OutputKind.GLOBAL_DESCRIPTOR:
        descriptor = outputs[spec.output_names[0]][0].astype(np.float64)
        return np.asarray(generator.standard_normal((NUMBERS, len(descriptor))) @ descriptor)
    is_kept = outputs["scores"][0] > 0
    places = _places(outputs, spec)[is_kept]
    waves = np.cos(places @ generator.normal(0.0, 20.0, (places.shape[1], NUMBERS)) + generator.uniform(0, 7, NUMBERS))
    if spec.output_kind is OutputKind.LOCAL_FEATURES:
        half = NUMBERS // 2
        descriptors = outputs["descriptors"][0][is_kept].astype(np.float64)
        waves[:, half:] = descriptors @ generator.standard_normal((descriptors.shape[1], NUMBERS - half))
    return np.asarray(waves.sum(axis=0) / np.sqrt(max(1, len(waves))))


def _places(outputs: Mapping[str, NDArray[np.float32]], spec: ArchitectureSpec) -> NDArray[np.float64]:
    """Where each row lies, 0..1: (x, y) of a keypoint, both rows of a match, both points of a correspondence."""
    size = np.array([spec.preprocess.width, spec.preprocess.height], np.float64)
    if spec.output_kind is OutputKind.LOCAL_FEATURES:
        return np.asarray(outputs["keypoints"][0] / size)
    if spec.output_kind is OutputKind.CORRESPONDENCES:
        return np.concatenate((outputs["points0"][0] / size, outputs["points1"][0] / size), axis=1)
    partners = outputs["matches"][0].astype(np.float64)
    return np.stack((np.arange(len(partners)), partners), axis=1) / spec.max_keypoints
