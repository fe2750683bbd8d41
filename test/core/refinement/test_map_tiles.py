"""Pictures of tiles come out of the right map at the right place, or the maps are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gps_denied_inference.core.errors import EvaluationError, InferenceError, SettingsError
from gps_denied_inference.core.flight import Orthophoto, TileGrid, camera_of_tiles, render_tile
from gps_denied_inference.core.index import TileIndex
from gps_denied_inference.core.refinement import MapTiles, load_map_tiles

pytest.importorskip("cv2", reason="OpenCV is not installed")
pytest.importorskip("rasterio", reason="rasterio is not installed")

from indexed_maps import CRS, IndexedMap, index_map, write_map


def _ground(seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Blurred noise: like ground it is similar to what is near, so that a shift of a pixel does not change all."""
    import cv2

    noise = np.random.default_rng(seed).integers(0, 256, (703, 801, 3), np.uint8)
    return np.asarray(cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2.0), None, 0, 255, cv2.NORM_MINMAX), np.uint8)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> IndexedMap:
    """At ten headings: at 36 degrees a corner of a tile lies straight north of its centre, as far as one can."""
    return index_map(write_map(tmp_path_factory.mktemp("map") / "map.tif", _ground(1)), headings=10)


def _finer(grid: TileGrid, shorter_px: int) -> TileGrid:
    camera, height_m = camera_of_tiles(shorter_px, 4 / 3, 40.0)
    return replace(grid, camera=camera, height_m=height_m)


@pytest.mark.parametrize("shorter_px", [240, 480])
def test_tiles_are_those_that_the_index_was_built_of(mapped: IndexedMap, shorter_px: int) -> None:
    tiles = load_map_tiles(mapped.index, [mapped.map_path], shorter_px=shorter_px)
    assert (tiles.image_height, tiles.image_width) == (shorter_px, shorter_px * 4 // 3)
    assert tiles.meters_per_pixel == pytest.approx(40 / shorter_px)
    grid = _finer(mapped.grid, shorter_px)
    assert len(mapped.index) == len(grid.views) >= 16
    for tile, view in enumerate(grid.views):
        whole = render_tile(mapped.ground.orthophoto, grid, view)
        # Of the whole map a hundredth of a pixel is rounded otherwise than of the part that is cut out.
        assert np.abs(tiles.picture(tile).astype(int) - whole).max() <= 3, view
    with pytest.raises(InferenceError, match=f"no tile {len(grid.views)}"):
        tiles.picture(len(grid.views))


def test_map_much_finer_than_the_pictures_shows_the_same_ground(mapped: IndexedMap) -> None:
    tiles = load_map_tiles(mapped.index, [mapped.map_path], shorter_px=48)  # 0.83 m a pixel, of a map of 0.1 m
    grid = _finer(mapped.grid, 48)
    (coarse,) = tiles._maps
    assert coarse.orthophoto.meters_per_pixel == pytest.approx(0.4)
    north_m = mapped.ground.south_m + mapped.ground.orthophoto.height_m
    assert coarse.south_m + coarse.orthophoto.height_m == pytest.approx(north_m), "what is left over is left out below"
    for tile, view in enumerate(grid.views):
        whole = render_tile(mapped.ground.orthophoto, grid, view).astype(float)
        found = tiles.picture(tile).astype(float)
        assert np.corrcoef(found.ravel(), whole.ravel())[0, 1] > 0.98, view
        assert np.corrcoef(found[:, 1:].ravel(), whole[:, :-1].ravel())[0, 1] < 0.9, "a pixel further it is other"


def test_tiles_of_several_maps_come_out_of_their_own(tmp_path: Path) -> None:
    first, second = (
        index_map(write_map(tmp_path / f"{name}.tif", _ground(seed), east_m=east_m))
        for name, seed, east_m in (("west", 1, 0.0), ("east", 2, 80.0))
    )
    both = TileIndex(
        "space",
        np.concatenate((first.index.descriptors, second.index.descriptors)),
        np.concatenate((first.index.positions_m, second.index.positions_m)),
        np.concatenate((first.index.headings_deg, second.index.headings_deg)),
        replace(first.index.details, maps=(*first.index.details.maps, *second.index.details.maps)),
    )
    tiles = load_map_tiles(both, [second.map_path, first.map_path], shorter_px=240)
    for part, offset in ((first, 0), (second, len(first.index))):
        grid = _finer(part.grid, 240)
        whole = render_tile(part.ground.orthophoto, grid, grid.views[3])
        assert np.abs(tiles.picture(offset + 3).astype(int) - whole).max() <= 3
    with pytest.raises(SettingsError, match=r"all maps of the index; east.tif is missing"):
        load_map_tiles(both, [first.map_path], shorter_px=240)


def test_other_maps_are_refused_with_what_would_be_right(mapped: IndexedMap, tmp_path: Path) -> None:
    index = mapped.index
    with pytest.raises(SettingsError, match=r"paths of the maps of the index: map\.tif"):
        load_map_tiles(index, [], shorter_px=240)
    other = write_map(tmp_path / "map.tif", _ground(2))
    with pytest.raises(SettingsError, match=r"this file has SHA-256 .* build the index again"):
        load_map_tiles(index, [other], shorter_px=240)
    with pytest.raises(SettingsError, match="can be read"):
        load_map_tiles(index, [tmp_path / "none.tif"], shorter_px=240)
    unknown = _with_details(index, side_m=0.0)
    with pytest.raises(SettingsError, match="how large its tiles are"):
        load_map_tiles(unknown, [mapped.map_path], shorter_px=240)
    elsewhere = _with_details(index, crs="EPSG:32613")
    with pytest.raises(SettingsError, match=r"a map in 'EPSG:32613'.* this one is in 'EPSG:32612'"):
        load_map_tiles(elsewhere, [mapped.map_path], shorter_px=240)
    no_map = tmp_path / "text.tif"
    no_map.write_text("no picture")
    with pytest.raises(EvaluationError, match="cannot be read as a map"):
        load_map_tiles(_with_details(index, maps=()), [no_map], shorter_px=240)


@pytest.mark.parametrize("moved_m", [2.0, -2.0])
def test_map_whose_world_file_was_changed_since_is_refused(tmp_path: Path, moved_m: float) -> None:
    import cv2

    path = tmp_path / "map.png"
    cv2.imwrite(str(path), _ground(1))
    world = "0.1\n0\n0\n-0.1\n{x}\n4978247.15\n"
    path.with_suffix(".pgw").write_text(world.format(x=528000.05))
    mapped = index_map(path)
    assert mapped.ground.crs == CRS, "named by whoever built the index, and taken from there"
    load_map_tiles(mapped.index, [path], shorter_px=240)
    path.with_suffix(".pgw").write_text(world.format(x=528000.05 + moved_m))
    with pytest.raises(SettingsError, match="check the world files"):
        load_map_tiles(mapped.index, [path], shorter_px=240)


def test_index_that_names_no_maps_takes_those_that_cover_it(mapped: IndexedMap) -> None:
    silent = _with_details(mapped.index, maps=())
    tiles = load_map_tiles(silent, [mapped.map_path], shorter_px=240)
    assert tiles.picture(0).shape == (240, 320, 3)
    far = replace(mapped.ground, orthophoto=Orthophoto(np.zeros((10, 10, 3), np.uint8), 0.1))
    with pytest.raises(SettingsError, match="reach beyond them"):
        MapTiles(silent, [far], shorter_px=240)


def _with_details(index: TileIndex, **changes: object) -> TileIndex:
    return TileIndex(
        index.space_id,
        index.descriptors,
        index.positions_m,
        index.headings_deg,
        replace(index.details, **changes),  # type: ignore[arg-type]
    )
