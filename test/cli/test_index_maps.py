"""`gdi index` with what a vehicle's map comes as: several GeoTIFFs, local features, a bag to look up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from bags import IMAGE_TYPE

from gps_denied_inference.cli.main import main
from gps_denied_inference.core.flight import load_orthophoto, locate_orthophoto
from gps_denied_inference.core.index import PartialIndex, load_tile_features, load_tile_index
from gps_denied_inference.core.replay import BagTopic, BagWriter

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
rasterio = pytest.importorskip("rasterio", reason="rasterio is not installed")
torch = pytest.importorskip("torch", reason="torch is not installed")

_SCALE_M, _SIDE_PX = 0.1, 1000
_WEST_M, _NORTH_M = 528_000.0, 4_978_247.2
_CPU = ("--device", "cpu", "--precision", "fp32")
_BUILD = ("--side", "60", "--stride", "15", "--headings", "1", *_CPU)
_LOCAL = ("--local-model", "xfeat", "--local-pixels", "240", "--local-keypoints", "64")
_Row = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Two threads of a network wait for each other longer than they compute, where others have the processors."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _write_map(path: Path, column_px: int, crs: str) -> Path:
    image = load_orthophoto(locate_orthophoto()).image_rgb[:_SIDE_PX, column_px : column_px + _SIDE_PX]
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=_SIDE_PX,
        height=_SIDE_PX,
        count=3,
        dtype="uint8",
        crs=crs,
        transform=rasterio.Affine(_SCALE_M, 0, _WEST_M + column_px * _SCALE_M, 0, -_SCALE_M, _NORTH_M),
    ) as file:
        file.write(np.moveaxis(image, 2, 0))
    return path


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two of 100 by 100 m, beside each other."""
    folder = tmp_path_factory.mktemp("maps")
    return [_write_map(folder / f"map_{column_px}.tif", column_px, "EPSG:32612") for column_px in (0, 1200)]


@pytest.fixture(scope="module")
def index(maps: list[Path]) -> Path:
    path = maps[0].with_name("maps.index")
    assert main(["index", "build", *map(str, maps), "--out", str(path), *_BUILD, *_LOCAL]) == 0
    return path


def test_index_of_several_geotiffs_names_them_and_their_coordinates(index: Path, maps: list[Path]) -> None:
    loaded = load_tile_index(index)
    assert loaded.details.crs == "EPSG:32612", "from the files"
    assert [name for name, _ in loaded.details.maps] == [path.name for path in maps]
    half = len(loaded) // 2
    for positions_m, column_px in ((loaded.positions_m[:half], 0), (loaded.positions_m[half:], 1200)):
        west_m = _WEST_M + column_px * _SCALE_M
        assert (positions_m[:, 0] > west_m).all() and (positions_m[:, 0] < west_m + 100).all()
        assert (positions_m[:, 1] < _NORTH_M).all() and (positions_m[:, 1] > _NORTH_M - 100).all()
    assert len(load_tile_features(index.with_name("maps.index.local"), loaded.sha256)) == len(loaded)


def test_maps_in_two_coordinate_systems_are_refused(
    maps: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = _write_map(tmp_path / "other.tif", 0, "EPSG:32613")
    assert main(["index", "build", str(maps[0]), str(other), "--out", str(tmp_path / "no"), *_BUILD]) == 1
    assert "2 coordinate systems ('EPSG:32612', 'EPSG:32613')" in capsys.readouterr().err


def test_images_of_a_bag_are_looked_up(index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = load_tile_index(index)
    rows = (1, len(loaded) - 2)  # one of each map
    orthophoto = load_orthophoto(locate_orthophoto()).image_rgb
    topic = "/camera/image/compressed"
    with BagWriter(tmp_path / "bag", [BagTopic(topic, IMAGE_TYPE)]) as bag:
        for number, row in enumerate(rows, 1):
            column_px, row_px = (loaded.positions_m[row] - (_WEST_M, _NORTH_M)) / (_SCALE_M, -_SCALE_M)
            view = orthophoto[
                round(row_px) - 300 : round(row_px) + 300, round(column_px) - 300 : round(column_px) + 300
            ]
            jpeg = cv2.imencode(".jpg", np.ascontiguousarray(view[:, :, ::-1]))[1].reshape(-1)
            header = bag.factory.header(number * 10**9, "camera")
            message = bag.factory.typestore.types[IMAGE_TYPE](header=header, format="jpeg", data=jpeg)
            bag.write(topic, number * 10**9, message)
    assert main(["index", "query", str(index), str(tmp_path / "bag"), "-k", "2", "--json", *_CPU]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [entry["image"] for entry in found] == ["bag at 1.000000000", "bag at 2.000000000"]
    assert tuple(entry["candidates"][0]["tile"] for entry in found) == rows
    assert all(len(entry["candidates"]) == 2 and entry["candidates"][0]["similarity"] > 0.95 for entry in found)


def test_local_features_of_a_build_that_was_killed_go_on_where_they_stood(
    index: Path, maps: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    again = tmp_path / "again.index"
    command = ["index", "build", *map(str, maps), "--out", str(again), *_BUILD, *_LOCAL]
    append = PartialIndex.append
    made: list[str] = []

    def append_and_tell(self: PartialIndex, row: _Row) -> None:
        if self.path.name == "again.index.local.partial" and self.count == 3 and not made.count("killed"):
            made.append("killed")
            raise KeyboardInterrupt
        made.append(self.path.name)
        append(self, row)

    monkeypatch.setattr(PartialIndex, "append", append_and_tell)
    assert main(command) == 130
    assert made.count("again.index.local.partial") == 3
    assert not again.with_name("again.index.local").exists()
    tiles = made.count("again.index.partial")
    del made[: made.index("killed")]
    assert main(command) == 0
    assert made.count("again.index.partial") == 0 and made.count("again.index.local.partial") == tiles - 3
    assert f"{tiles} of them from before" in capsys.readouterr().out
    for name in ("", ".local"):
        assert Path(f"{again}{name}").read_bytes() == Path(f"{index}{name}").read_bytes()
    assert not list(tmp_path.glob("*.partial"))
