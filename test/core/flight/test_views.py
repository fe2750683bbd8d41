"""What is judged by: pairs of views, patches of ground, maps that know where they lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gps_denied_inference.core.errors import EvaluationError
from gps_denied_inference.core.flight import (
    CONDITIONS,
    CameraPose,
    MapPart,
    NadirCamera,
    Orthophoto,
    Season,
    ground_patch,
    load_georeferenced_map,
    recolor,
    view_pairs,
)

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
CAMERA = NadirCamera(160, 120)


@pytest.fixture(scope="module")
def orthophoto() -> Orthophoto:
    generator = np.random.default_rng(7)
    coarse = generator.integers(0, 255, (40, 40, 3), np.uint8)
    return Orthophoto(cv2.resize(coarse, (400, 400), interpolation=cv2.INTER_CUBIC), 0.5)


def test_true_homography_brings_the_first_view_onto_the_second(orthophoto: Orthophoto) -> None:
    pairs = list(view_pairs(orthophoto, CAMERA, height_m=40.0, pairs_per_condition=1, seed=3))
    assert [pair.condition for pair in pairs] == [condition.name for condition in CONDITIONS]
    for pair in pairs:
        if pair.condition not in ("turn 30°", "turn 90°", "height × 1.5"):
            continue
        moved = cv2.warpPerspective(pair.first_rgb, pair.second_from_first, (160, 120))
        seen = cv2.warpPerspective(np.full((120, 160), 255, np.uint8), pair.second_from_first, (160, 120)) == 255
        difference = np.abs(moved[seen].astype(int) - pair.second_rgb[seen])
        assert seen.mean() > 0.2 and np.median(difference) < 12, pair.name


def test_equal_seeds_give_equal_pairs_and_parts_hold_their_centres(orthophoto: Orthophoto) -> None:
    def first(part: MapPart, seed: int) -> NDArray[np.uint8]:
        return next(
            view_pairs(orthophoto, CAMERA, height_m=30.0, pairs_per_condition=1, part=part, seed=seed)
        ).first_rgb

    np.testing.assert_array_equal(first(MapPart.EAST, 1), first(MapPart.EAST, 1))
    assert (first(MapPart.EAST, 1) != first(MapPart.WEST, 1)).any()
    too_high = view_pairs(orthophoto, CAMERA, height_m=300.0, pairs_per_condition=1)
    with pytest.raises(EvaluationError, match="too small for views"):
        next(too_high)


@pytest.mark.parametrize("heading_deg", [0.0, 37.0, 90.0, 231.0])
def test_patch_of_a_turned_view_is_the_north_up_view(orthophoto: Orthophoto, heading_deg: float) -> None:
    camera = NadirCamera(200, 200)
    turned = camera.render(orthophoto, CameraPose(0, 90.0, 110.0, 60.0, heading_deg))
    north_up = camera.render(orthophoto, CameraPose(0, 90.0, 110.0, 60.0, 0.0))
    side_m = camera.footprint_m(60.0)[0]
    meters_per_pixel = side_m / 200
    patch = ground_patch(
        turned, meters_per_pixel=meters_per_pixel, yaw_deg=heading_deg, side_m=0.5 * side_m, side_px=100
    )
    assert np.abs(patch.astype(int) - north_up[50:150, 50:150]).mean() < 6


def test_seasons_change_colours_and_keep_shapes() -> None:
    green, shadow = np.full((2, 2, 3), (90, 140, 60), np.uint8), np.full((2, 2, 3), (20, 28, 22), np.uint8)
    assert recolor(green, Season.SUMMER) is green
    autumn = recolor(green, Season.AUTUMN)[0, 0].astype(int)
    assert autumn[0] > autumn[1] > autumn[2], "green became brown"
    winter = recolor(green, Season.WINTER)[0, 0].astype(int)
    assert winter.min() > 180 and recolor(shadow, Season.WINTER).max() < 40, "snow on the ground, none in the shadow"


def write_map(
    path: Path, *, scale: float = 2.0, crs: str | None = "EPSG:32615", bands: int = 3, turn: float = 0
) -> Path:
    rasterio = pytest.importorskip("rasterio", reason="rasterio is not installed")
    transform = rasterio.Affine(scale, turn, 565000.0, turn, -scale, 5190000.0)
    values = np.arange(bands * 20 * 30, dtype=np.uint8).reshape(bands, 20, 30)
    with rasterio.open(
        path, "w", driver="GTiff", width=30, height=20, count=bands, dtype="uint8", crs=crs, transform=transform
    ) as file:
        file.write(values)
    return path


def test_positions_land_on_their_pixels_of_a_geotiff(tmp_path: Path) -> None:
    ground = load_georeferenced_map(write_map(tmp_path / "map.tif"))
    assert (ground.orthophoto.width_m, ground.orthophoto.height_m, ground.crs) == (60.0, 40.0, "EPSG:32615")
    assert ground.from_projected(565003.0, 5189999.0) == (3.0, 39.0)
    warp = pytest.importorskip("rasterio.warp")
    (longitude,), (latitude,) = warp.transform("EPSG:32615", "EPSG:4326", [565003.0], [5189999.0])
    x, y = ground.from_geographic(latitude, longitude)
    assert (x, y) == pytest.approx((3.0, 39.0), abs=1e-3) and ground.covers(x, y) and not ground.covers(-1, 0)


def test_map_in_degrees_comes_in_metres(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio", reason="rasterio is not installed")
    step = 1e-5
    with rasterio.open(
        tmp_path / "map.tif",
        "w",
        driver="GTiff",
        width=60,
        height=60,
        count=3,
        dtype="uint8",
        crs="EPSG:4326",
        transform=rasterio.Affine(step, 0, -91.99, 0, -step, 46.84),
    ) as file:
        file.write(np.full((3, 60, 60), 99, np.uint8))
    ground = load_georeferenced_map(tmp_path / "map.tif")
    assert ground.crs == "EPSG:32615"
    # 60 steps of latitude are 66.7 m, of longitude 45.7 m at 46.84 degrees north.
    assert ground.from_geographic(46.84 - 30 * step, -91.99 + 30 * step) == pytest.approx((23, 33.5), abs=1.5)


def test_map_that_cannot_be_used_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="turned against north"):
        load_georeferenced_map(write_map(tmp_path / "turned.tif", turn=0.3))
    with pytest.raises(EvaluationError, match="1 band"):
        load_georeferenced_map(write_map(tmp_path / "gray.tif", bands=1))


def test_picture_without_a_place_and_place_without_a_system_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("rasterio", reason="rasterio is not installed")
    cv2.imwrite(str(tmp_path / "map.png"), np.zeros((20, 30, 3), np.uint8))
    with pytest.raises(EvaluationError, match="not georeferenced"):
        load_georeferenced_map(tmp_path / "map.png")
    (tmp_path / "map.pgw").write_text("0.5\n0\n0\n-0.5\n1000\n2000\n")
    ground = load_georeferenced_map(tmp_path / "map.png")
    assert ground.from_projected(1000.0, 2000.0) == pytest.approx((0.25, 9.75))
    with pytest.raises(EvaluationError, match="--map-crs"):
        ground.from_geographic(46.0, -92.0)
    with pytest.raises(EvaluationError, match="cannot be read as a map"):
        load_georeferenced_map(tmp_path / "nothing.tif")
