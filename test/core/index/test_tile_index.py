"""Search over tiles."""

import numpy as np
import pytest
from numpy.typing import NDArray

from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.index import TileIndex

SPACE = "net/4/abc/def"


def index_of(descriptors: NDArray[np.float32]) -> TileIndex:
    count = len(descriptors)
    positions = np.array([(10.0 * row, 20.0 * row) for row in range(count)])
    return TileIndex(SPACE, descriptors, positions, np.linspace(0, 90, count))


def test_best_tiles_come_first_whatever_their_lengths() -> None:
    index = index_of(np.array([[1, 0, 0, 0], [5, 5, 0, 0], [0, 3, 0, 0]], np.float32))
    matches = index.search(np.array([0, 2, 0, 0], np.float32), SPACE, k=3)
    assert [match.tile for match in matches] == [2, 1, 0]
    assert [match.similarity for match in matches] == pytest.approx([1.0, np.sqrt(0.5), 0.0])
    assert (matches[0].x_m, matches[0].y_m, matches[0].heading_deg) == (20.0, 40.0, 90.0)


def test_search_agrees_with_cosines_computed_one_by_one() -> None:
    generator = np.random.default_rng(0)
    descriptors = generator.normal(size=(50, 8)).astype(np.float32)
    query = generator.normal(size=8).astype(np.float32)
    cosines = [float(row @ query / np.linalg.norm(row) / np.linalg.norm(query)) for row in descriptors]
    matches = index_of(descriptors).search(query, SPACE, k=10)
    assert [match.tile for match in matches] == list(np.argsort(cosines)[::-1][:10])


def test_search_returns_all_tiles_when_fewer_than_asked_for() -> None:
    assert len(index_of(np.eye(4, dtype=np.float32)).search(np.ones(4, np.float32), SPACE, k=99)) == 4


def test_descriptor_of_another_space_is_refused_by_name() -> None:
    index = index_of(np.eye(4, dtype=np.float32))
    with pytest.raises(InferenceError, match=r"'other/4/x/y'.*'net/4/abc/def'.*cannot be compared"):
        index.search(np.ones(4, np.float32), "other/4/x/y")


@pytest.mark.parametrize(
    ("values", "k", "words"),
    [
        (np.ones(5), 1, "shape"),
        (np.zeros(4), 1, "zero or not finite"),
        (np.full(4, np.nan), 1, "zero or not finite"),
        (np.ones(4), 0, "at least 1"),
    ],
)
def test_senseless_query_is_refused(values: NDArray[np.float64], k: int, words: str) -> None:
    with pytest.raises(InferenceError, match=words):
        index_of(np.eye(4, dtype=np.float32)).search(values.astype(np.float32), SPACE, k)


def test_index_refuses_shapes_that_do_not_belong_together_and_broken_descriptors() -> None:
    good = np.eye(3, dtype=np.float32)
    with pytest.raises(InferenceError, match="needs shapes"):
        TileIndex(SPACE, good, np.zeros((2, 2)), np.zeros(3))
    with pytest.raises(InferenceError, match="needs shapes"):
        TileIndex(SPACE, np.empty((0, 3), np.float32), np.zeros((0, 2)), np.zeros(0))
    with pytest.raises(InferenceError, match="zero or not finite"):
        TileIndex(SPACE, np.zeros((3, 3), np.float32), np.zeros((3, 2)), np.zeros(3))


def test_index_keeps_its_own_copy() -> None:
    descriptors = np.eye(4, dtype=np.float32)
    index = index_of(descriptors)
    descriptors[:] = 0
    assert index.search(np.array([1, 0, 0, 0], np.float32), SPACE)[0].similarity == pytest.approx(1.0)
    assert (len(index), index.dimension) == (4, 4)
