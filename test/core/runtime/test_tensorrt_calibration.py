"""A calibration cache is trusted when file, data set and model agree, and is never overwritten."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gps_denied_inference.core.errors import CalibrationCacheError, EngineBuildError
from gps_denied_inference.core.runtime.tensorrt_calibration import CalibrationCache, read_calibration_set

DATASET, MODEL = "d" * 64, "e" * 64


@pytest.fixture
def cache(tmp_path: Path) -> CalibrationCache:
    return CalibrationCache(tmp_path / "network.calibration", DATASET, MODEL)


def test_without_a_cache_there_is_nothing_to_trust(cache: CalibrationCache) -> None:
    assert cache.read() is None


def test_a_written_cache_is_trusted_and_may_be_written_again(cache: CalibrationCache) -> None:
    cache.write(b"scales")
    cache.write(b"scales")
    assert cache.read() == b"scales"
    assert sorted(path.name for path in cache.path.parent.iterdir()) == [
        "network.calibration",
        "network.calibration.json",
    ]


def _edit(name: str, value: object) -> Callable[[CalibrationCache], object]:
    def edit(cache: CalibrationCache) -> None:
        claims = json.loads(cache.sidecar.read_text())
        claims[name] = value
        cache.sidecar.write_text(json.dumps(claims))

    return edit


def _replace_by_folder(cache: CalibrationCache) -> None:
    cache.path.unlink()
    cache.path.mkdir()


DAMAGES: dict[str, Callable[[CalibrationCache], object]] = {
    "cache changed": lambda cache: cache.path.write_bytes(b"scalez"),
    "cache truncated": lambda cache: cache.path.write_bytes(b""),
    "cache missing": lambda cache: cache.path.unlink(),
    "sidecar missing": lambda cache: cache.sidecar.unlink(),
    "sidecar empty": lambda cache: cache.sidecar.write_bytes(b""),
    "sidecar no JSON": lambda cache: cache.sidecar.write_bytes(b"{"),
    "sidecar no object": lambda cache: cache.sidecar.write_bytes(b"[]"),
    "sidecar no text": lambda cache: cache.sidecar.write_bytes(b"\xff\xfe\xfd"),
    "sidecar deep": lambda cache: cache.sidecar.write_bytes(b"[" * 100_000),
    "sidecar of another schema": _edit("schema_version", 2),
    "sidecar with a wrong hash": _edit("cache_sha256", "0" * 64),
    "sidecar with a number": _edit("cache_sha256", 7),
    "of another data set": _edit("dataset_sha256", "0" * 64),
    "of another model": _edit("model_sha256", "0" * 64),
    "a folder": _replace_by_folder,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_refused_and_left_as_it_is(cache: CalibrationCache, damage: str) -> None:
    cache.write(b"scales")
    DAMAGES[damage](cache)
    before = {path: path.read_bytes() for path in cache.path.parent.iterdir() if path.is_file()}
    with pytest.raises(CalibrationCacheError, match="Remove it"):
        cache.read()
    with pytest.raises(CalibrationCacheError):
        cache.write(b"new scales")
    assert {path: path.read_bytes() for path in cache.path.parent.iterdir() if path.is_file()} == before


def test_a_cache_is_not_trusted_for_other_data(cache: CalibrationCache) -> None:
    cache.write(b"scales")
    for other in (replace(cache, dataset_sha256="0" * 64), replace(cache, model_sha256="0" * 64)):
        with pytest.raises(CalibrationCacheError, match="was made"):
            other.read()


def test_other_values_do_not_overwrite_a_good_cache(cache: CalibrationCache) -> None:
    cache.write(b"scales")
    with pytest.raises(CalibrationCacheError, match="other values"):
        cache.write(b"other scales")
    assert cache.read() == b"scales"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_no_random_sidecar_is_trusted(cache: CalibrationCache, content: bytes) -> None:
    cache.path.write_bytes(b"scales")
    cache.sidecar.write_bytes(content)
    with pytest.raises(CalibrationCacheError):
        cache.read()


def test_calibration_images_are_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "images.npy"
    np.save(path, np.ones((4, 3, 8, 8), np.float32))
    found = read_calibration_set(path, (2, 3, 8, 8))
    assert found.images.shape == (4, 3, 8, 8) and len(found.sha256) == 64


@pytest.mark.parametrize(
    "images",
    [
        np.ones((3, 3, 8, 8), np.float32),
        np.ones((4, 3, 8, 9), np.float32),
        np.ones((4, 3, 8, 8), np.float64),
        np.ones((0, 3, 8, 8), np.float32),
        np.full((4, 3, 8, 8), np.nan, np.float32),
        np.array(1.0, np.float32),
        np.array([{"pickled": 1}]),
    ],
)
def test_images_that_do_not_fit_are_refused(tmp_path: Path, images: NDArray[Any]) -> None:
    path = tmp_path / "images.npy"
    np.save(path, images)
    with pytest.raises(EngineBuildError):
        read_calibration_set(path, (2, 3, 8, 8))


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY"])
def test_files_that_are_no_array_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "images.npy"
    path.write_bytes(content)
    with pytest.raises(EngineBuildError):
        read_calibration_set(path, (2, 3, 8, 8))
    with pytest.raises(EngineBuildError):
        read_calibration_set(tmp_path / "absent.npy", (2, 3, 8, 8))
