"""Local features and matches with published weights, against kornia's own (see test/golden/README.md)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import LocalFeatures
from gps_denied_inference.core.matching import feature_matcher_inputs, match_mutual_nearest, matches_from_outputs

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
from half_precision import emulate_half_precision  # noqa: E402 - needs torch

from test.core.architectures.published import published_module  # noqa: E402 - needs torch
from test.golden.inputs import FOLDER, MOVED_BY_PX, golden_pair  # noqa: E402 - needs cv2

LOCAL = ("aliked_n16", "aliked_n16rot", "aliked_n32", "aliked_t16", "disk", "xfeat")
MATCHERS = {"lightglue_aliked": "aliked_n16", "lightglue_disk": "disk", "lighterglue_xfeat": "xfeat"}


def golden_features(name: str, key: str) -> LocalFeatures:
    size = golden_pair()[key].shape[-1]
    with np.load(FOLDER / f"pair_{name}.npz") as golden:
        keypoints, scores, descriptors = (golden[f"{key}_{item}"] for item in ("keypoints", "scores", "descriptors"))
    return LocalFeatures(keypoints, scores, descriptors.astype(np.float32), size, size)


def detect(module: Any, image: NDArray[np.float32]) -> tuple[NDArray[Any], ...]:
    with torch.inference_mode():
        return tuple(output[0].numpy() for output in module(torch.tensor(image)))


def found_again(
    golden: LocalFeatures, keypoints: NDArray[Any], scores: NDArray[Any], radius_px: float
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    distances = np.linalg.norm(golden.keypoints_px[:, np.newaxis] - keypoints[scores > 0], axis=2)
    return distances.min(axis=1) <= radius_px, distances.argmin(axis=1)


@pytest.mark.parametrize("name", LOCAL)
def test_features_are_those_of_kornia(name: str) -> None:
    _, module = published_module(name)
    golden = golden_features(name, "crop")
    keypoints, scores, descriptors = detect(module, golden_pair()["crop"])
    is_found, rows = found_again(golden, keypoints, scores, 0.02)
    assert is_found.mean() >= 0.99
    np.testing.assert_allclose(scores[rows][is_found], golden.scores[is_found], rtol=2e-3, atol=1e-4)
    cosines = (descriptors[rows] * golden.descriptors).sum(axis=1)[is_found]
    assert np.quantile(cosines, 0.02) > 0.999
    is_padding = scores <= 0
    assert is_padding.any() and (keypoints[is_padding] == 0).all() and (descriptors[is_padding] == 0).all()
    np.testing.assert_allclose(np.linalg.norm(descriptors[~is_padding], axis=1), 1.0, rtol=1e-4)


@pytest.mark.parametrize("name", LOCAL)
def test_half_precision_finds_the_same_features(name: str) -> None:
    _, module = published_module(name)
    golden = golden_features(name, "crop")
    keypoints, scores, descriptors = detect(emulate_half_precision(module), golden_pair()["crop"])
    is_found, rows = found_again(golden, keypoints, scores, 3.0)
    assert is_found.mean() >= 0.9, "the node's limit of repeatability"
    cosines = (descriptors[rows] * golden.descriptors).sum(axis=1)[is_found]
    assert cosines.mean() > 0.98


def test_blank_image_has_no_features() -> None:
    _, module = published_module("aliked_t16")
    keypoints, scores, descriptors = detect(module, np.full((1, 3, 64, 96), 0.5, np.float32))
    assert not scores.any() and not keypoints.any() and not descriptors.any()
    assert keypoints.shape == (2048, 2), "more rows than the image has candidates"


def match(
    name: str, first: LocalFeatures, second: LocalFeatures, *, in_half_precision: bool = False
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    entry, module = published_module(name)
    if in_half_precision:
        emulate_half_precision(module)
    spec = replace(entry.spec, max_keypoints=192)  # padding all the same, at a fraction of the time
    inputs = feature_matcher_inputs(first, second, spec)
    with torch.inference_mode():
        returned = module(*(torch.tensor(inputs[item.name]) for item in spec.inputs))
    outputs = dict(zip(spec.output_names, (item.numpy() for item in returned), strict=True))
    matches = matches_from_outputs(outputs, spec, first, second)
    return matches.indices, matches.scores


@pytest.mark.parametrize("name", MATCHERS)
def test_padded_matches_are_those_of_kornia_without_padding(name: str) -> None:
    first, second = (golden_features(MATCHERS[name], key) for key in ("crop", "moved"))
    indices, scores = match(name, first, second)
    with np.load(FOLDER / "pair_matches.npz") as golden:
        expected = {(row, int(partner)) for row, partner in enumerate(golden[name]) if partner >= 0}
    found = {(int(row), int(partner)) for row, partner in indices}
    assert len(found & expected) >= 0.98 * max(len(found), len(expected))
    assert (np.diff(scores) <= 0).all() and scores[-1] > 0.1
    moved = first.keypoints_px[indices[:, 0]] - second.keypoints_px[indices[:, 1]]
    assert np.mean(np.linalg.norm(moved - MOVED_BY_PX, axis=1) < 3.0) > 0.95, "matches are right, not only equal"


@pytest.mark.parametrize("name", MATCHERS)
def test_half_precision_matches_alike(name: str) -> None:
    first, second = (golden_features(MATCHERS[name], key) for key in ("crop", "moved"))
    indices, _ = match(name, first, second)
    halved, _ = match(name, first, second, in_half_precision=True)
    same = {tuple(pair) for pair in indices.tolist()} & {tuple(pair) for pair in halved.tolist()}
    assert len(same) >= 0.95 * len(indices)


def test_image_without_features_has_no_matches_and_no_nan() -> None:
    first = golden_features("xfeat", "crop")
    nothing = LocalFeatures(
        np.empty((0, 2), np.float32), np.empty(0, np.float32), np.empty((0, 64), np.float32), 192, 192
    )
    for pair in ((first, nothing), (nothing, nothing)):
        indices, _ = match("lighterglue_xfeat", *pair)
        assert len(indices) == 0


def test_network_matches_more_than_nearest_neighbours_do() -> None:
    first, second = (golden_features("xfeat", key) for key in ("crop", "moved"))
    indices, _ = match("lighterglue_xfeat", first, second)
    nearest = match_mutual_nearest(first, second)

    def right(pairs: NDArray[np.int32]) -> float:
        moved = first.keypoints_px[pairs[:, 0]] - second.keypoints_px[pairs[:, 1]]
        return float(np.mean(np.linalg.norm(moved - MOVED_BY_PX, axis=1) < 3.0))

    assert right(indices) > right(nearest.indices) > 0.5
