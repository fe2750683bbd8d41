"""SuperPoint and Efficient LoFTR, whose published weights cannot be installed: with random weights."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
from half_precision import emulate_half_precision  # noqa: E402 - needs torch
from transformers import SuperPointConfig, SuperPointForKeypointDetection  # noqa: E402 - needs torch
from transformers.models.efficientloftr.configuration_efficientloftr import (  # noqa: E402 - needs torch
    EfficientLoFTRConfig,
)

from gps_denied_inference.core.architectures.networks.efficient_loftr import EfficientLoftr  # noqa: E402
from gps_denied_inference.core.architectures.networks.keypoint_selection import select_maxima  # noqa: E402
from gps_denied_inference.core.architectures.networks.superpoint import SuperPointTopK  # noqa: E402
from test.golden.inputs import golden_pair  # noqa: E402 - needs cv2

_SIZE = 160


def gray(key: str = "crop") -> Any:
    return torch.tensor(golden_pair()[key][..., :_SIZE, :_SIZE]).mean(dim=1, keepdim=True)


def test_maxima_are_strict_ranked_and_padded() -> None:
    score_map = torch.zeros(1, 1, 12, 15)
    for row, column, score in ((3, 4, 0.5), (8, 10, 0.9), (3, 5, 0.4), (8, 4, 0.7), (8, 5, 0.7), (0, 7, 1.0)):
        score_map[0, 0, row, column] = score
    scores, index = select_maxima(score_map, radius=2, threshold=0.1, count=6)
    # The neighbour of a higher one, two equal neighbours and the border are none.
    assert scores[0, :2].tolist() == pytest.approx([0.9, 0.5])
    assert index[0, :2].tolist() == [8 * 15 + 10, 3 * 15 + 4]
    assert (scores[0, 2:] == -1).all()
    scores, index = select_maxima(score_map, radius=2, threshold=0.1, count=500)
    assert scores.shape == index.shape == (1, 500) and (scores[0, 2:] == -1).all()


def superpoint() -> Any:
    torch.manual_seed(1)
    module = SuperPointTopK(max_keypoints=256)
    for parameter in module.parameters():
        if parameter.dim() == 4:
            torch.nn.init.kaiming_normal_(parameter)
    return module.eval().requires_grad_(False)


def test_superpoint_describes_like_transformers_where_both_find_a_keypoint() -> None:
    module = superpoint()
    config = SuperPointConfig(keypoint_threshold=0.015)
    reference: Any = SuperPointForKeypointDetection(config)
    reference.eval()
    reference.load_state_dict(module.state_dict())
    with torch.inference_mode():
        keypoints, scores, descriptors = (output[0] for output in module(gray()))
        expected = reference(gray().expand(-1, 3, -1, -1))
    size = gray().shape[-1]
    theirs = {
        tuple(np.rint(point).astype(int)): row for row, point in enumerate((expected.keypoints[0] * size).numpy())
    }
    kept = [row for row in range(len(scores)) if scores[row] > 0]
    assert len(kept) > 50
    rows = [theirs[tuple(keypoints[row].int().tolist())] for row in kept]
    torch.testing.assert_close(scores[kept], expected.scores[0][rows], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(descriptors[kept], expected.descriptors[0][rows], rtol=1e-3, atol=1e-4)


def test_superpoint_in_half_precision_finds_the_same() -> None:
    module = superpoint()
    with torch.inference_mode():
        first = module(gray())
        second = emulate_half_precision(module)(gray())
    pixels = [{tuple(point) for point in output[0][0].int().tolist()} for output in (first, second)]
    assert len(pixels[0] & pixels[1]) >= 0.9 * len(pixels[0])


@pytest.fixture(scope="module")
def loftr() -> Any:
    """Random weights with the statistics of the crop, so that features differ from place to place."""
    torch.manual_seed(0)
    module = EfficientLoftr(200, EfficientLoFTRConfig(coarse_matching_threshold=0.0))
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0
            torch.nn.init.ones_(layer.weight)
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
            torch.nn.init.kaiming_normal_(layer.weight)
    module.train()
    with torch.no_grad():
        module(gray(), gray())
    return module.eval().requires_grad_(False)


def test_loftr_finds_an_image_in_itself_and_moved_by_a_cell(loftr: Any) -> None:
    image = gray()
    wide = torch.cat((image, image.flip(-1)), dim=-1)
    for moved_px in (0, 8):
        with torch.inference_mode():
            points0, points1, scores = loftr(image, wide[..., moved_px : moved_px + image.shape[-1]])
        assert points0.shape == points1.shape == (1, 200, 2) and scores.shape == (1, 200)
        is_match = scores[0] > 0
        assert (scores[0].diff() <= 0).all() and is_match.sum() > 50
        moved = (points0 - points1)[0][is_match]
        is_right = (moved - torch.tensor([moved_px, 0.0])).norm(dim=1) < 1.0
        assert is_right.float().mean() > 0.7, "chance is nowhere near"
        assert not points0[0][~is_match].any() and not points1[0][~is_match].any()


def test_refinement_of_loftr_follows_the_features_by_pixels_and_below(loftr: Any) -> None:
    """Each pixel of a cell has a feature of its own, and the other cell shows them two to the right and one down."""
    channels, sliced = 64, loftr._config.fine_matching_slice_dim
    generator = torch.Generator().manual_seed(0)
    pattern = torch.randn(1, 16, 16, channels, generator=generator) * 4.0
    pattern[..., channels - sliced :] = 0.0
    first = pattern[:, 4:12, 4:12].clone()
    second = pattern[:, 2:12, 1:11].clone()  # a border of one pixel; what lay at (y, x) now lies at (y + 1, x + 2)
    # Only one pixel is described alike in both, so that it is the best.
    first[:, :, :, : channels - sliced] *= 0.1
    first[:, 3, 2, : channels - sliced] *= 10.0
    points0, points1 = loftr._refine(first.flatten(1, 2), second.flatten(1, 2))
    assert points0[0].tolist() == [2 - 3.5, 3 - 3.5]
    torch.testing.assert_close(points1[0], torch.tensor([4 - 3.5, 4 - 3.5]), rtol=0.0, atol=1e-5)
    # The last channels pull the second point towards the neighbour on the right.
    first[..., channels - 1] = 40.0
    second[:, 5, 6, channels - 1] = 40.0
    _, pulled = loftr._refine(first.flatten(1, 2), second.flatten(1, 2))
    assert 0.5 < float(pulled[0, 0] - points1[0, 0]) <= 1.0
    assert abs(float(pulled[0, 1] - points1[0, 1])) < 0.3


def test_loftr_in_half_precision_finds_the_same(loftr: Any) -> None:
    image = gray()[..., :96, :96]
    moved = gray()[..., :96, 8 : 8 + 96]
    with torch.inference_mode():
        first = loftr(image, moved)
        second = emulate_half_precision(copy.deepcopy(loftr))(image, moved)
    places = []
    for points0, points1, scores in (first, second):
        rows = scores[0] > 0
        cells = [(int(x), int(y)) for x, y in torch.div(points0[0][rows], 8, rounding_mode="floor").tolist()]
        places.append(dict(zip(cells, points1[0][rows], strict=True)))
    common = places[0].keys() & places[1].keys()
    assert len(common) > 0.9 * max(len(places[0]), len(places[1]))
    distances = torch.stack([(places[0][cell] - places[1][cell]).norm() for cell in common])
    assert distances.median() < 0.01 and (distances < 1).float().mean() > 0.9
