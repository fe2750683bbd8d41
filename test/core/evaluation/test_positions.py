from __future__ import annotations

import os
from pathlib import Path

import pytest

from gps_denied_inference.core.errors import EvaluationError
from gps_denied_inference.core.evaluation import read_positions

FRAMES = Path(os.environ.get("GDI_TEST_DATA", "../shared/data")) / "brighton_beach"


def folder_with(tmp_path: Path, table: str) -> Path:
    (tmp_path / "a.png").write_bytes(b"not looked at")
    (tmp_path / "positions.csv").write_text(table)
    return tmp_path


def test_table_with_geographic_positions_and_yaw_is_read(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "file,lat,lon,flight_yaw,rel_alt\na.png,46.5,-91.25,+44.0,\n")
    (image,) = read_positions(folder)
    assert (image.latitude_deg, image.longitude_deg, image.yaw_deg) == (46.5, -91.25, 44.0)
    assert image.x_m is None and image.height_m is None and image.path == folder / "a.png"


def test_table_with_map_coordinates_is_read_from_anywhere(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "")
    table = tmp_path / "other.csv"
    table.write_text("file,x_m,y_m,meters_per_pixel\na.png,10,20.5,0.1\n")
    (image,) = read_positions(folder, table)
    assert (image.x_m, image.y_m, image.meters_per_pixel, image.latitude_deg) == (10.0, 20.5, 0.1, None)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("", "columns none; expected a header"),
        ("name,lat,lon\na.png,1,2\n", "expected a header and rows with file"),
        ("file,lat\na.png,1\n", "lat and lon, or x_m and y_m"),
        ("file,lat,lon\nb.png,1,2\n", r"line 2: there is no picture .*b\.png"),
        ("file,lat,lon\na.png,north,2\n", "line 2: 'lat' is 'north'; expected a number"),
        ("file,lat,lon\na.png,1,nan\n", "line 2: 'lon' is 'nan'"),
        ("file,lat,lon\na.png,,2\n", "line 2: 'lat' is empty"),
        ("file,lat,lon\na.png\n", "line 2: 'lat' is empty"),
    ],
)
def test_wrong_table_is_named_with_line_and_column(tmp_path: Path, table: str, words: str) -> None:
    with pytest.raises(EvaluationError, match=words):
        read_positions(folder_with(tmp_path, table))


def test_missing_folder_and_folder_without_pictures_are_named(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="is no folder"):
        read_positions(tmp_path / "nowhere")
    with pytest.raises(EvaluationError, match="holds no pictures"):
        read_positions(tmp_path)


def test_picture_without_position_says_what_to_add(tmp_path: Path) -> None:
    pytest.importorskip("rasterio", reason="rasterio is not installed")
    (tmp_path / "a.png").write_bytes(b"broken")
    with pytest.raises(EvaluationError, match=r"a\.png cannot be read as a picture"):
        read_positions(tmp_path)
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    import numpy as np

    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(EvaluationError, match=r"a\.png has no position in EXIF; put a positions\.csv"):
        read_positions(tmp_path)


@pytest.mark.skipif(not FRAMES.is_dir(), reason="the real frames are not there (GDI_TEST_DATA)")
def test_exif_of_real_frames_says_what_their_table_says(tmp_path: Path) -> None:
    pytest.importorskip("rasterio", reason="rasterio is not installed")
    tabled = read_positions(FRAMES)[2]
    (tmp_path / tabled.path.name).symlink_to(tabled.path.resolve())
    (read,) = read_positions(tmp_path)
    assert read.latitude_deg == pytest.approx(tabled.latitude_deg, abs=1e-7)
    assert read.longitude_deg == pytest.approx(tabled.longitude_deg, abs=1e-7)
    assert (read.yaw_deg, read.height_m) == (tabled.yaw_deg, tabled.height_m) == (44.2, 40.1)
