"""The centre of an image on the map, against a camera whose place is known."""

import math

import numpy as np
import pytest

from gps_denied_inference.core.contracts import LocalFeatures
from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.flight import CameraPose, NadirCamera
from gps_denied_inference.core.index import TileFeatures, TileIndex, image_center_m

CAMERA, PICTURE, HEIGHT_M = NadirCamera(320, 240), NadirCamera(640, 480), 50.0
TILES = [(100.0, 200.0, 0.0), (120.0, 190.0, 135.0)]
INDEX = TileIndex(
    "space", np.eye(2, 4, dtype=np.float32), np.array([tile[:2] for tile in TILES]), np.array([t[2] for t in TILES])
)
NOTHING = LocalFeatures(np.zeros((1, 2), np.float32), np.ones(1, np.float32), np.ones((1, 4), np.float32), 480, 640)
FEATURES = TileFeatures.of_tiles(
    [NOTHING, NOTHING],
    1,
    index_sha256="ab" * 32,
    space_id="local",
    model="xfeat",
    meters_per_pixel=min(PICTURE.footprint_m(HEIGHT_M)) / 480,
)


@pytest.mark.parametrize("tile", [0, 1])
@pytest.mark.parametrize("pose", [(103.0, 195.0, 48.0, 20.0), (110.0, 204.0, 55.0, 250.0)])
def test_centre_of_an_image_lies_below_the_camera(tile: int, pose: tuple[float, float, float, float]) -> None:
    x_m, y_m, height_m, heading_deg = pose
    picture_from_ground = PICTURE.image_from_ground(CameraPose(0, *TILES[tile][:2], HEIGHT_M, TILES[tile][2]))
    image_from_ground = CAMERA.image_from_ground(CameraPose(0, x_m, y_m, height_m, heading_deg))
    homography = picture_from_ground @ np.linalg.inv(image_from_ground)
    found = image_center_m(homography, INDEX, FEATURES, tile, image_height=240, image_width=320)
    np.testing.assert_allclose(found, (x_m, y_m), atol=0.01)


def test_without_a_homography_there_is_no_position() -> None:
    size = {"image_height": 240, "image_width": 320}
    assert all(math.isnan(value) for value in image_center_m(None, INDEX, FEATURES, 0, **size))
    at_infinity = np.diag([1.0, 1.0, 0.0])
    assert all(math.isnan(value) for value in image_center_m(at_infinity, INDEX, FEATURES, 0, **size))
    with pytest.raises(InferenceError, match="there is no tile 2; the index has 2"):
        image_center_m(None, INDEX, FEATURES, 2, **size)


def test_features_of_tiles_are_padded_to_one_number_and_the_best_kept() -> None:
    more = LocalFeatures(
        np.arange(6, dtype=np.float32).reshape(3, 2),
        np.array([0.9, 0.5, 0.1], np.float32),
        np.full((3, 4), 0.5, np.float32),
        480,
        640,
    )

    def stacked(*tiles: LocalFeatures) -> TileFeatures:
        return TileFeatures.of_tiles(
            tiles, 2, index_sha256="ab" * 32, space_id="local", model="xfeat", meters_per_pixel=0.1
        )

    features = stacked(more, NOTHING)
    assert features.counts.tolist() == [2, 1] and features.descriptors.dtype == np.float16
    assert features.of_tile(0).scores.tolist() == pytest.approx([0.9, 0.5]) and features.of_tile(1).count == 1
    np.testing.assert_array_equal(features.of_tile(0).keypoints_px, more.keypoints_px[:2])
    other = LocalFeatures(more.keypoints_px, more.scores, more.descriptors, 240, 320)
    with pytest.raises(InferenceError, match="2 sizes"):
        stacked(more, other)
