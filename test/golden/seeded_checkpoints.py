"""Checkpoints with the published names and shapes, for networks whose published values cannot be installed.

The values come from numpy's generator and a seed of each name, so that every computer makes the same ones. Their spread
is such that a network of full size answers to its image: outputs of two images differ, and matchers find matches.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from test.core.architectures.published_layouts import LAYOUTS

__all__ = ["seeded_checkpoint"]

_CONSTANTS = {"aggregation.1.p": 3.0, "aggregator.dust_bin": 1.0}  # GeM's exponent; SALAD's dustbin
_ONES = ("norm", "bn", "mix.0", "downsample.1", "rbr_identity", "outconv2.1", "ffn.1")
"""Parts of the names of layers that normalise: their scale and running variance are about one."""
_EMBEDDINGS = ("cls_token", "mask_token", "storage_tokens", "queries", "posenc.Wr.weight")
_BRANCH = 0.3
_LEVELS = {".bn2": _BRANCH, ".bn3": _BRANCH, "loftr_coarse": _BRANCH, ".rbr_": 3**-0.5}
_VARIANCE_AFTER_RELU = 0.341  # of a standard normal value, about its mean: 1/2 - 1/(2π)


def seeded_checkpoint(name: str) -> dict[str, NDArray[np.generic]]:
    """Values for the layout of an entry, by published name."""
    return {key: _values(name, key, shape) for key, shape in LAYOUTS[name]().items()}


def _values(name: str, key: str, shape: tuple[int, ...]) -> NDArray[np.generic]:
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if key in _CONSTANTS:
        return np.full(shape, _CONSTANTS[key], np.float32)
    normal = np.random.default_rng(zlib.crc32(f"{name}/{key}".encode())).standard_normal(shape, np.float32)
    layer, _, kind = key.rpartition(".")
    if layer.startswith("log_assignment"):
        return _assignment(layer, kind, normal)
    if key == "pool.centroids":
        return np.asarray(normal / np.linalg.norm(normal, axis=1, keepdims=True), np.float32)
    if key == "pool.conv.weight":  # a soft assignment that decides, as the published one does
        return np.asarray(normal, np.float32)
    if key.endswith("pos_embed") or any(part in key for part in _EMBEDDINGS):
        return normal
    if kind == "gamma":
        return np.asarray(0.5 + 0.1 * normal, np.float32)
    if kind == "running_var" or (kind == "weight" and any(part in layer for part in _ONES) and len(shape) == 1):
        # Blocks that change what passes by them a little, as trained ones do, don't enlarge rounding errors.
        level = next((level for part, level in _LEVELS.items() if part in layer), 1.0) if kind == "weight" else 1.0
        return np.asarray(level * (1.0 + 0.1 * np.abs(normal)), np.float32)
    if len(shape) < 2:  # biases, running means, masks and periods
        return np.asarray(0.02 * normal, np.float32)
    return _weights(normal) * np.float32(_BRANCH if layer.endswith("mix.3") else 1.0)


def _weights(normal: NDArray[np.float32]) -> NDArray[np.float32]:
    """Kernels that keep the spread and let no constant through: behind many layers it would be all that is left."""
    axes = tuple(range(1, normal.ndim))
    fan_in = int(np.prod(normal.shape[1:]))
    centred = normal - normal.mean(axis=axes, keepdims=True) if fan_in > 1 else normal
    # Values before a linear layer are mostly normalised, those before a convolution have passed a ReLU.
    variance = 1.0 if normal.ndim == 2 else _VARIANCE_AFTER_RELU
    return np.asarray(centred / np.sqrt(fan_in * variance), np.float32)


def _assignment(layer: str, kind: str, normal: NDArray[np.float32]) -> NDArray[np.float32]:
    """Like features are matched: the similarity is that of the features, and all can be matched."""
    if "matchability" in layer:
        return np.asarray((3.0 if kind == "bias" else 0.0) + 0.02 * normal, np.float32)
    if kind == "bias":
        return np.zeros_like(normal)
    return np.asarray(2.0 * np.eye(len(normal)) + 0.1 * normal / np.sqrt(len(normal)), np.float32)
