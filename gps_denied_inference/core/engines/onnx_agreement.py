"""Whether an exported network computes what torch computes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import ArchitectureSpec, OutputKind, PrecisionMode
from gps_denied_inference.core.errors import EngineBuildError

__all__ = ["probe_inputs", "require_agreement"]

_SEED = 2026
_TOLERANCE = {PrecisionMode.FP32: 1e-3, PrecisionMode.FP16: 5e-2}  # of outputs whose values are about 1
_REPEATED = {PrecisionMode.FP32: 0.99, PrecisionMode.FP16: 0.8}  # share of the keypoints at the same pixel
_QUANTILE = 0.99  # of the errors at repeated keypoints: two neighbours in rank may have swapped a tie


def probe_inputs(spec: ArchitectureSpec) -> dict[str, NDArray[np.float32]]:
    """Seeded noise of every grain, 0..255, brought to the declared inputs: it has edges, spots and flat places."""
    generator = np.random.default_rng(_SEED)
    inputs = {}
    for item in spec.inputs:
        *_, height, width = item.shape
        image = np.zeros(item.shape)
        for grain in (1, 4, 16, 64):
            coarse = generator.random((*item.shape[:-2], -(-height // grain), -(-width // grain)))
            image += np.kron(coarse, np.ones((grain, grain)))[..., :height, :width]
        mean, std = (np.asarray(values).reshape(-1, 1, 1) for values in (spec.preprocess.mean, spec.preprocess.std))
        inputs[item.name] = np.ascontiguousarray((image * (255.0 / 4) - mean) / std, dtype=np.float32)
    return inputs


def require_agreement(
    name: str,
    spec: ArchitectureSpec,
    precision: PrecisionMode,
    expected: Mapping[str, NDArray[np.float32]],
    found: Mapping[str, NDArray[np.float32]],
) -> float:
    """Compare outputs; rows of local features are compared where both have a keypoint at the same pixel.

    Args:
        name: of the network, for messages.
        spec: of the network.
        precision: of the exported network: sets the tolerance.
        expected: of FP32 torch.
        found: of the exported network.

    Returns:
        The largest error; of local features, that of 99% of the values.

    Raises:
        EngineBuildError: a shape differs, an error exceeds the tolerance, or too few keypoints are found again.
    """
    for output in spec.output_names:
        if found[output].shape != expected[output].shape:
            raise EngineBuildError(
                f"output '{output}' of the exported '{name}' has shape {found[output].shape}, in torch "
                f"{expected[output].shape}; correct the network so that it can be exported"
            )
    error = (
        _local_error(name, precision, expected, found)
        if spec.output_kind is OutputKind.LOCAL_FEATURES
        else max(_relative_error(expected[output], found[output]) for output in spec.output_names)
    )
    if not error <= _TOLERANCE[precision]:  # written so that NaN fails
        raise EngineBuildError(
            f"the exported '{name}' differs from torch by {error:.3g} in {precision.value}; at most "
            f"{_TOLERANCE[precision]:g} is allowed. Export it in fp32, or correct the network"
        )
    return error


def _relative_error(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    scale = max(1.0, float(np.abs(expected).max()))
    return float(np.abs(expected - found).max()) / scale


def _local_error(
    name: str,
    precision: PrecisionMode,
    expected: Mapping[str, NDArray[np.float32]],
    found: Mapping[str, NDArray[np.float32]],
) -> float:
    rows = [_row_of_pixel(outputs) for outputs in (expected, found)]
    pixels = sorted(rows[0].keys() & rows[1].keys())
    repeated = len(pixels) / len(rows[0]) if rows[0] else float(not rows[1])
    if repeated < _REPEATED[precision]:
        raise EngineBuildError(
            f"the exported '{name}' finds {repeated:.1%} of torch's {len(rows[0])} keypoints again in "
            f"{precision.value}; at least {_REPEATED[precision]:.0%} is required. Export it in fp32, or correct the "
            "network"
        )
    if not pixels:
        return 0.0
    first, second = ([row[pixel] for pixel in pixels] for row in rows)
    errors = [
        float(np.quantile(np.abs(expected[output][0, first] - found[output][0, second]), _QUANTILE))
        for output in ("scores", "descriptors")
    ]
    return max(errors)


def _row_of_pixel(outputs: Mapping[str, NDArray[np.float32]]) -> dict[tuple[int, int], int]:
    return {
        (round(float(x)), round(float(y))): row
        for row, (x, y) in enumerate(outputs["keypoints"][0])
        if outputs["scores"][0, row] > 0
    }
