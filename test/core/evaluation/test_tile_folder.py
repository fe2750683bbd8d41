from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from gps_denied_inference.core.errors import EvaluationError
from gps_denied_inference.core.evaluation import read_tiles

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
rasterio = pytest.importorskip("rasterio", reason="rasterio is not installed")


def write_picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((256, 256, 3), np.uint8))


def test_web_map_tiles_lie_where_their_numbers_say(tmp_path: Path) -> None:
    write_picture(tmp_path / "0" / "0" / "0.png")
    write_picture(tmp_path / "1" / "0" / "0.png")
    write_picture(tmp_path / "1" / "1" / "1.png")
    first, second = read_tiles(tmp_path)
    # Half way between the equator and the map's northern edge.
    latitude = math.degrees(math.atan(math.sinh(math.pi / 2)))
    assert (first.latitude_deg, first.longitude_deg) == pytest.approx((latitude, -90.0))
    assert (second.latitude_deg, second.longitude_deg) == pytest.approx((-latitude, 90.0))
    # 156543 m a pixel at zoom 0 on the equator.
    assert first.meters_per_pixel == pytest.approx(156543.03 / 2 * math.cos(math.radians(latitude)), rel=1e-5)


def test_georeferenced_tiles_lie_at_their_centres(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png")
    (tmp_path / "a.pgw").write_text("0.5\n0\n0\n-0.5\n1000.25\n1999.75\n")
    (tile,) = read_tiles(tmp_path)
    assert (tile.x_m, tile.y_m, tile.meters_per_pixel) == pytest.approx((1064.0, 1936.0, 0.5))
    with rasterio.open(
        tmp_path / "a.png.tif",
        "w",
        driver="GTiff",
        width=4,
        height=4,
        count=1,
        dtype="uint8",
        crs="EPSG:32615",
        transform=rasterio.Affine(10, 0, 499980, 0, -10, 20),
    ) as file:
        file.write(np.zeros((1, 4, 4), np.uint8))
    (tmp_path / "a.png").unlink()
    (tile,) = read_tiles(tmp_path)
    assert (tile.latitude_deg, tile.longitude_deg) == pytest.approx((0.0, -93.0), abs=1e-9)


def test_folder_without_tiles_or_places_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no folder"):
        read_tiles(tmp_path / "nowhere")
    with pytest.raises(EvaluationError, match="holds no pictures"):
        read_tiles(tmp_path)
    write_picture(tmp_path / "a.png")
    with pytest.raises(EvaluationError, match="no position in EXIF"):
        read_tiles(tmp_path)
    (tmp_path / "b.png").write_bytes(b"broken")
    with pytest.raises(EvaluationError, match=r"b\.png cannot be read"):
        read_tiles(tmp_path)
    (tmp_path / "17").mkdir()
    with pytest.raises(EvaluationError, match="holds no tiles"):
        read_tiles(tmp_path)
