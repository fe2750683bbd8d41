"""`gdi index` with the real network: a map becomes an index, and its places are found again."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gps_denied_inference.cli.main import main
from gps_denied_inference.core.assembly import assemble_pipeline
from gps_denied_inference.core.contracts import ImageFrame, LocalFeatures
from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.flight import locate_orthophoto
from gps_denied_inference.core.index import PartialIndex, TileReranker, load_tile_features, load_tile_index
from gps_denied_inference.core.settings import settings_from_mapping

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
pytest.importorskip("rasterio", reason="rasterio is not installed")
torch = pytest.importorskip("torch", reason="torch is not installed")

_WEST_M, _NORTH_M, _SCALE_M = 528_000.0, 4_978_247.2, 0.1
_BUILD = ("--side", "60", "--stride", "40", "--headings", "2", "--device", "cpu", "--precision", "fp32")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Two threads of a network wait for each other longer than they compute, where others have the processors."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real orthophoto with a world file, which names the centre of the first pixel."""
    path = tmp_path_factory.mktemp("ground") / "map.png"
    path.symlink_to(locate_orthophoto())
    half = _SCALE_M / 2
    path.with_suffix(".pgw").write_text(f"{_SCALE_M}\n0\n0\n-{_SCALE_M}\n{_WEST_M + half}\n{_NORTH_M - half}\n")
    return path


@pytest.fixture(scope="module")
def index(ground: Path) -> Path:
    path = ground.with_name("map.index")
    local = ("--local-model", "xfeat", "--local-pixels", "320", "--local-keypoints", "200")
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        build = ["index", "build", str(ground), "--out", str(path), "--crs", "EPSG:32612", "--json"]
        assert main([*build, *_BUILD, *local]) == 0
    document = json.loads(told.getvalue())
    assert (document["index"], document["crs"]) == (str(path), "EPSG:32612")
    assert document["tiles"] == 2 * document["positions"][str(ground)] and document["tiles_from_before"] == 0
    assert (document["local_features"] is None) == (not local)
    return path


def test_index_says_what_it_was_made_of_and_where_its_tiles_lie(index: Path, ground: Path) -> None:
    loaded = load_tile_index(index)
    assert (loaded.details.model, loaded.details.crs, loaded.details.side_m) == (
        "efficientnet_lite0_grid",
        "EPSG:32612",
        60.0,
    )
    assert loaded.details.maps[0][0] == "map.png"
    assert set(loaded.headings_deg) == {0.0, 180.0}
    assert len(loaded) % 2 == 0
    # The outermost centres keep half a diagonal from the map's edges, whatever the heading.
    margin = 30 * 2**0.5
    np.testing.assert_allclose(loaded.positions_m.min(axis=0), [_WEST_M + margin, _NORTH_M - 247.2 + margin], atol=0.01)
    assert not list(index.parent.glob("*.partial"))


def test_picture_of_a_place_finds_its_tile(index: Path, ground: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = load_tile_index(index)
    row = int(np.flatnonzero(loaded.headings_deg == 180.0)[5])
    column_px, row_px = (loaded.positions_m[row] - (_WEST_M, _NORTH_M)) / (_SCALE_M, -_SCALE_M)
    image = cv2.imread(str(ground))[int(row_px) - 300 : int(row_px) + 300, int(column_px) - 300 : int(column_px) + 300]
    query = ground.with_name("query.jpg")
    cv2.imwrite(str(query), cv2.rotate(image, cv2.ROTATE_180))
    capsys.readouterr()
    options = ["index", "query", str(index), str(query), "-k", "3", "--device", "cpu", "--precision", "fp32"]
    assert main([*options, "--json"]) == 0
    candidates = json.loads(capsys.readouterr().out)["candidates"]
    assert candidates[0]["tile"] == row
    assert candidates[0]["similarity"] > 0.9 > candidates[1]["similarity"]
    assert main(options) == 0
    assert f"{row:8d}" in capsys.readouterr().out.splitlines()[2]


def test_matching_with_the_tiles_tells_where_the_middle_of_an_image_lies(index: Path, ground: Path) -> None:
    loaded = load_tile_index(index)
    features = load_tile_features(index.with_name("map.index.local"), loaded.sha256)
    assert (features.model, features.image_width, features.meters_per_pixel) == ("xfeat", 320, 60 / 320)
    reranker = TileReranker(loaded, features, threshold_px=lambda: 3.0)
    rows = np.flatnonzero(loaded.headings_deg == 180.0)
    row = int(rows[7])
    # Seen from 6 m east and 4 m north of the tile's centre, with the top of the image towards the south-south-west.
    place = loaded.positions_m[row] + (6.0, 4.0)
    column_px, row_px = (place - (_WEST_M, _NORTH_M)) / (_SCALE_M, -_SCALE_M) - 0.5
    turn = cv2.getRotationMatrix2D((column_px, row_px), 190.0, 0.5)
    turn[:, 2] += (159.5, 119.5) - np.array([column_px, row_px])
    image = cv2.warpAffine(cv2.imread(str(ground)), turn, (320, 240), flags=cv2.INTER_AREA)
    frame = ImageFrame(0, "", "bgr8", 240, 320, 960, False, np.ascontiguousarray(image).reshape(-1))
    settings = settings_from_mapping(
        {
            "allow_cpu_fallback": True,
            "allow_ungated": True,
            "primary.model": "xfeat",
            "primary.device": "cpu",
            "primary.precision": "fp32",
        }
    )
    with assemble_pipeline(settings) as pipeline:
        query, space_id = pipeline.process(frame).features, pipeline.model.space_id
    assert isinstance(query, LocalFeatures)
    tiles = [int(other) for other in rows[:7]] + [row]
    best, *others = reranker.rank(query, space_id, tiles, 3)
    assert len(others) == 2 and best.tile == row
    assert best.inlier_count > 3 * others[0].inlier_count
    assert best.inlier_count <= best.match_count
    np.testing.assert_allclose((best.x_m, best.y_m), place, atol=0.5)
    with pytest.raises(InferenceError, match="cannot be compared"):
        reranker.rank(query, "other", tiles, 3)
    with pytest.raises(InferenceError, match="no tile"):
        reranker.rank(query, space_id, [len(loaded)], 3)
    with pytest.raises(InferenceError, match="belongs to the index"):
        load_tile_features(index.with_name("map.index.local"), "ab" * 32)


def test_build_that_was_killed_goes_on_and_ends_with_the_same_file(
    index: Path, ground: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    again = ground.with_name("again.index")
    append = PartialIndex.append

    def append_some(self: PartialIndex, row: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
        if self.count == 7:
            raise KeyboardInterrupt
        append(self, row)

    arguments = ["index", "build", str(ground), "--out", str(again), "--crs", "EPSG:32612", *_BUILD]
    monkeypatch.setattr(PartialIndex, "append", append_some)
    assert main(arguments) == 130
    assert not again.exists()
    monkeypatch.undo()
    capsys.readouterr()
    assert main(arguments) == 0
    assert "7 of them from before" in capsys.readouterr().out
    assert again.read_bytes() == index.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--side", "400"), "do not fit"),
        (("--side", "60", "--model", "xfeat"), "global descriptor"),
    ],
)
def test_what_cannot_be_built_is_said_in_a_sentence(
    arguments: tuple[str, ...], message: str, ground: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["index", "build", str(ground), "--out", str(ground.with_name("no")), *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not ground.with_name("no").exists()
