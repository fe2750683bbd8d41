"""Whether an exported network computes what torch computes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import ArchitectureSpec, OutputKind, PrecisionMode
from gps_denied_inference.core.errors import EngineBuildError

__all__ = ["probe_inputs", "require_agreement", "row_of_key"]

_SEED = 2026
_TOLERANCE = {PrecisionMode.FP32: 1e-3, PrecisionMode.FP16: 5e-2}  # of outputs whose values are about 1
_REPEATED = {PrecisionMode.FP32: 0.99, PrecisionMode.FP16: 0.8}  # share of the keypoints at the same pixel
_WHAT = {
    OutputKind.LOCAL_FEATURES: "keypoints",
    OutputKind.MATCHES: "matches",
    OutputKind.CORRESPONDENCES: "correspondences",
}
_COMPARED = {
    OutputKind.LOCAL_FEATURES: ("scores", "descriptors"),
    OutputKind.MATCHES: ("scores",),
    OutputKind.CORRESPONDENCES: ("scores", "points1"),
}
_QUANTILE = 0.99  # of the errors at repeated keypoints: two neighbours in rank may have swapped a tie


def probe_inputs(spec: ArchitectureSpec) -> dict[str, NDArray[np.float32]]:
    """Make what the declared inputs take.

    Images are seeded noise of every grain, 0..255: it has edges, spots and flat places. Two are shifted against each
    other. Sets of features are three quarters full, and the second holds those of the first, moved and in another
    order.
    """
    if spec.output_kind is OutputKind.MATCHES:
        return _probe_features(spec)
    inputs = {}
    for index, item in enumerate(spec.inputs):
        generator = np.random.default_rng(_SEED)
        image = np.roll(_noise_image(generator, item.shape), (8 * index, 16 * index), axis=(-2, -1))
        mean, std = (np.asarray(values).reshape(-1, 1, 1) for values in (spec.preprocess.mean, spec.preprocess.std))
        inputs[item.name] = np.ascontiguousarray((image * (255.0 / 4) - mean) / std, dtype=np.float32)
    return inputs


def _noise_image(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    *_, height, width = shape
    image = np.zeros(shape)
    for grain in (1, 4, 16, 64):
        coarse = generator.random((*shape[:-2], -(-height // grain), -(-width // grain)))
        image += np.kron(coarse, np.ones((grain, grain)))[..., :height, :width]
    return image


def _probe_features(spec: ArchitectureSpec) -> dict[str, NDArray[np.float32]]:
    generator = np.random.default_rng(_SEED)
    rows, dimension = spec.max_keypoints, spec.descriptor_dimension
    count = rows * 3 // 4
    keypoints = generator.uniform(-0.9, 0.9, (count, 2))
    descriptors = generator.normal(size=(count, dimension))
    inputs = {}
    for side in (0, 1):
        order = generator.permutation(count) if side else np.arange(count)
        moved = keypoints[order] + 0.05 * side
        noisy = descriptors[order] + 0.2 * side * generator.normal(size=(count, dimension))
        for name, values in (
            ("keypoints", moved),
            ("scores", np.ones(count)),
            ("descriptors", noisy / np.linalg.norm(noisy, axis=1, keepdims=True)),
        ):
            padded = np.zeros((1, rows, *values.shape[1:]), np.float32)
            padded[0, :count] = values
            inputs[f"{name}{side}"] = padded
    return inputs


def require_agreement(
    name: str,
    spec: ArchitectureSpec,
    precision: PrecisionMode,
    expected: Mapping[str, NDArray[np.float32]],
    found: Mapping[str, NDArray[np.float32]],
) -> float:
    """Compare outputs.

    Rows of local features are compared where both have a keypoint at the same pixel, correspondences where both begin
    at the same pixel, matches where both match the same rows.

    Args:
        name: of the network, for messages.
        spec: of the network.
        precision: of the exported network: sets the tolerance.
        expected: of FP32 torch.
        found: of the exported network.

    Returns:
        The error, relative to the largest value where that exceeds 1: the largest of a global descriptor, that of 99%
        of the values for the other kinds.

    Raises:
        EngineBuildError: a shape differs, an error exceeds the tolerance, or too few keypoints are found again.
    """
    for output in spec.output_names:
        if found[output].shape != expected[output].shape:
            raise EngineBuildError(
                f"output '{output}' of the exported '{name}' has shape {found[output].shape}, in torch "
                f"{expected[output].shape}; correct the network so that it can be exported"
            )
    if spec.output_kind is OutputKind.GLOBAL_DESCRIPTOR:
        error = max(_relative_error(expected[output], found[output]) for output in spec.output_names)
    else:
        error = _paired_error(name, spec, precision, expected, found)
    if not error <= _TOLERANCE[precision]:  # written so that NaN fails
        raise EngineBuildError(
            f"the exported '{name}' differs from torch by {error:.3g} in {precision.value}; at most "
            f"{_TOLERANCE[precision]:g} is allowed. Export it in fp32, or correct the network"
        )
    return error


def _relative_error(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    scale = max(1.0, float(np.abs(expected).max()))
    return float(np.abs(expected - found).max()) / scale


def _paired_error(
    name: str,
    spec: ArchitectureSpec,
    precision: PrecisionMode,
    expected: Mapping[str, NDArray[np.float32]],
    found: Mapping[str, NDArray[np.float32]],
) -> float:
    rows = [row_of_key(outputs, spec) for outputs in (expected, found)]
    keys = sorted(rows[0].keys() & rows[1].keys())
    repeated = len(keys) / len(rows[0]) if rows[0] else float(not rows[1])
    if repeated < _REPEATED[precision]:
        raise EngineBuildError(
            f"the exported '{name}' finds {repeated:.1%} of torch's {len(rows[0])} {_WHAT[spec.output_kind]} again in "
            f"{precision.value}; at least {_REPEATED[precision]:.0%} is required. Export it in fp32, or correct the "
            "network"
        )
    if not keys:
        return 0.0
    first, second = ([row[key] for key in keys] for row in rows)
    errors = []
    for output in _COMPARED[spec.output_kind]:
        wanted, got = expected[output][0, first], found[output][0, second]
        scale = max(1.0, float(np.abs(wanted).max()))
        errors.append(float(np.quantile(np.abs(wanted - got), _QUANTILE)) / scale)
    return max(errors)


def row_of_key(outputs: Mapping[str, NDArray[np.float32]], spec: ArchitectureSpec) -> dict[tuple[int, int], int]:
    """Rows that are no padding, by what makes them the same in two runs."""
    kept = [int(row) for row in np.flatnonzero(outputs["scores"][0] > 0)]
    if spec.output_kind is OutputKind.MATCHES:
        return {(row, round(float(outputs["matches"][0, row]))): row for row in kept}
    points = outputs["keypoints" if spec.output_kind is OutputKind.LOCAL_FEATURES else "points0"][0]
    return {(round(float(points[row, 0])), round(float(points[row, 1]))): row for row in kept}
