"""An image goes through the network with the tiles of its candidates, and the better result counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from manual_clock import ManualClock
from model_identities import model_identity
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import (
    Correspondences,
    ImageFrame,
    PlaceCandidate,
    PlaceRecognition,
    RuntimeLabel,
    StageTimings,
)
from gps_denied_inference.core.errors import ImageDecodeError, InferenceError
from gps_denied_inference.core.refinement import DenseMatcher, PlacedImage, load_map_tiles

pytest.importorskip("cv2", reason="OpenCV is not installed")
pytest.importorskip("rasterio", reason="rasterio is not installed")

from indexed_maps import IndexedMap, index_map, write_map

_TIMINGS = StageTimings(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> IndexedMap:
    """A map of one gray a tile cannot be mistaken for another's: it grows from west to east."""
    ground = np.zeros((700, 800, 3), np.uint8) + np.linspace(0, 255, 800).astype(np.uint8)[:, np.newaxis]
    return index_map(write_map(tmp_path_factory.mktemp("map") / "map.tif", ground), headings=1)


class Network:
    """Finds as many true pairs as `count` says of a tile's picture, moved by (10, -5); remembers what it was given."""

    def __init__(self, count: Callable[[NDArray[np.uint8]], int], clock: ManualClock | None = None) -> None:
        self.model = model_identity("efficient_loftr")
        self.given: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = []
        self._count = count
        self._clock = clock

    def match_decoded(self, first_hwc: NDArray[np.uint8], second_hwc: NDArray[np.uint8], /) -> Correspondences:
        self.given.append((first_hwc, second_hwc))
        if self._clock is not None:
            self._clock.advance(0.007)
        count = self._count(second_hwc)
        points = np.random.default_rng(1).uniform((0, 0), (63, 47), (count, 2)).astype(np.float32)
        return Correspondences(points, points + np.array([10.0, -5.0], np.float32), np.ones(count, np.float32))


def _image(encoding: str = "rgb8") -> ImageFrame:
    return ImageFrame(123, "optical", encoding, 48, 64, 192, False, np.full(48 * 192, 100, np.uint8))


def _places(mapped: IndexedMap, *tiles: int) -> PlaceRecognition:
    candidates = tuple(PlaceCandidate(tile, 0.0, 0.0, 0.0, 0.5) for tile in tiles)
    return PlaceRecognition(123, "optical", "", "space", mapped.index.sha256, "", candidates, 0.1, _TIMINGS)


def _matcher(mapped: IndexedMap, network: Network, candidates: int = 1) -> DenseMatcher:
    tiles = load_map_tiles(mapped.index, [mapped.map_path], shorter_px=240)
    return DenseMatcher(network, tiles, threshold_px=lambda: 3.0, candidates=lambda: candidates)


def test_result_names_the_tile_and_carries_points_in_pixels_of_both_pictures(mapped: IndexedMap) -> None:
    network = Network(lambda _: 40)
    result = _matcher(mapped, network).process(PlacedImage(_image(), _places(mapped, 3, 1)))
    ((image_hwc, tile_hwc),) = network.given
    assert image_hwc.shape == (48, 64, 1) and tile_hwc.shape == (240, 320, 1), "gray, as the network takes it"
    assert (result.first_stamp_ns, result.first_frame_id) == (123, "optical")
    assert (result.second_stamp_ns, result.second_frame_id) == (0, f"tile/{mapped.index.sha256}/3")
    assert (result.second_height, result.second_width, result.space_id) == (240, 320, "")
    assert result.points is not None and result.points.count == result.first_count == result.second_count == 40
    np.testing.assert_array_equal(result.matches.indices[:, 0], np.arange(40))
    assert result.geometry.matrix is not None and result.geometry.inlier_count == 40
    np.testing.assert_allclose(result.geometry.matrix[:2, 2], (10.0, -5.0), atol=1e-3)


def test_of_several_candidates_that_with_most_inliers_counts(mapped: IndexedMap) -> None:
    east = int(np.argmax(mapped.index.positions_m[:, 0]))
    west = int(np.argmin(mapped.index.positions_m[:, 0]))

    def count(tile_hwc: NDArray[np.uint8]) -> int:
        return 30 if tile_hwc.mean() > 128 else 10  # the east is bright

    for candidates, tiles, expected in ((1, (west, east), west), (2, (west, east), east), (9, (east, west), east)):
        network = Network(count)
        result = _matcher(mapped, network, candidates).process(PlacedImage(_image(), _places(mapped, *tiles)))
        assert len(network.given) == min(candidates, 2)
        assert result.second_frame_id.endswith(f"/{expected}")
    network = Network(lambda _: 0)
    nothing = _matcher(mapped, network, 2).process(PlacedImage(_image(), _places(mapped, west, east)))
    assert nothing.second_frame_id.endswith(f"/{west}") and nothing.geometry.matrix is None
    assert nothing.matches.indices.shape == (0, 2)


def test_what_cannot_be_used_is_refused_in_a_sentence(mapped: IndexedMap) -> None:
    network = Network(lambda _: 40)
    matcher = _matcher(mapped, network)
    with pytest.raises(InferenceError, match=f"are of the index {'cd' * 32}, this node's is"):
        matcher.process(PlacedImage(_image(), replace(_places(mapped, 0), index_sha256="cd" * 32)))
    with pytest.raises(InferenceError, match="are none"):
        matcher.process(PlacedImage(_image(), _places(mapped)))
    with pytest.raises(InferenceError, match="no tile 4000"):
        matcher.process(PlacedImage(_image(), _places(mapped, 4000)))
    with pytest.raises(ImageDecodeError):
        matcher.process(PlacedImage(_image("nonsense"), _places(mapped, 0)))
    assert not network.given


def test_time_is_told_where_it_went(mapped: IndexedMap, tmp_path: Path) -> None:
    clock = ManualClock()
    network = Network(lambda _: 40, clock)
    tiles = load_map_tiles(mapped.index, [mapped.map_path], shorter_px=240)
    matcher = DenseMatcher(network, tiles, threshold_px=lambda: 3.0, candidates=lambda: 2, clock=clock)
    received_ns = clock()
    clock.advance(0.003)
    timings = matcher.process(PlacedImage(_image(), _places(mapped, 0, 1)), received_ns).timings
    assert (timings.wait_ms, timings.infer_ms, timings.total_ms) == (3.0, 14.0, 17.0)


def test_thread_is_warmed_by_a_real_call_but_for_a_script(mapped: IndexedMap) -> None:
    network = Network(lambda _: 0)
    matcher = _matcher(mapped, network)
    matcher.warm_up_thread()
    assert not network.given, "the identity says that it is the fake runtime"
    network.model = replace(network.model, runtime_label=RuntimeLabel.PYTORCH_FP16)
    matcher.warm_up_thread()
    assert len(network.given) == 1
