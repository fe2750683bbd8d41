"""Tile indexes are read back as they were written, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_engines import snapshot

from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.index import TileIndex, load_tile_index, save_tile_index

_SPACE = "net/16/0123456789ab/01234567"


def index_of(count: int = 50, dimension: int = 16, seed: int = 0) -> TileIndex:
    generator = np.random.default_rng(seed)
    return TileIndex(
        _SPACE,
        generator.normal(size=(count, dimension)).astype(np.float32),
        generator.normal(size=(count, 2)),
        generator.uniform(0, 360, count),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "maps" / "index"
    save_tile_index(index_of(), folder)
    return folder


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(st.integers(1, 30), st.integers(1, 20), st.integers(0, 99))
def test_loaded_index_answers_as_the_one_in_memory(tmp_path: Path, count: int, dimension: int, seed: int) -> None:
    index = index_of(count, dimension, seed)
    save_tile_index(index, tmp_path / "index")
    loaded = load_tile_index(tmp_path / "index")
    assert (len(loaded), loaded.dimension, loaded.space_id) == (count, dimension, _SPACE)
    query = np.random.default_rng(seed + 1).normal(size=dimension).astype(np.float32)
    assert loaded.search(query, _SPACE, k=5) == index.search(query, _SPACE, k=5)


def test_descriptors_stay_in_their_file(folder: Path) -> None:
    loaded = load_tile_index(folder)
    base: Any = loaded.descriptors
    while not isinstance(base, np.memmap):
        base = base.base
    assert Path(str(base.filename)) == folder / "descriptors.npy"
    assert not loaded.descriptors.flags.writeable


def test_same_index_gives_same_files_and_takes_the_old_ones_place(folder: Path) -> None:
    before = {name: entry[-1] for name, entry in snapshot(folder).items()}
    save_tile_index(index_of(), folder)
    assert {name: entry[-1] for name, entry in snapshot(folder).items()} == before
    save_tile_index(index_of(seed=1), folder)
    assert load_tile_index(folder).descriptors[0] == pytest.approx(index_of(seed=1).descriptors[0])
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_folder_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    with pytest.raises(InferenceError, match="holds no tile index"):
        save_tile_index(index_of(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
    with pytest.raises(InferenceError, match="cannot write"):
        save_tile_index(index_of(), tmp_path / "precious" / "index")


def _edit(**changes: object) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        path = folder / "index.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return edit


def _flip(name: str) -> Callable[[Path], object]:
    def flip(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[-1] ^= 1
        (folder / name).write_bytes(content)

    return flip


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "index.json").unlink(),
        lambda folder: (folder / "index.json").write_text("{"),
        lambda folder: (folder / "index.json").write_text("[]"),
        lambda folder: (folder / "headings_deg.npy").unlink(),
        lambda folder: (folder / "descriptors.npy").write_bytes(b""),
        _flip("descriptors.npy"),
        _flip("positions_m.npy"),
        _flip("headings_deg.npy"),
        _edit(format="other"),
        _edit(dimension=17),
        _edit(count=51),
        _edit(sha256={}),
        _edit(sha256=None),
    ],
)
def test_damaged_index_is_refused_by_its_folder(damage: Callable[[Path], object], folder: Path) -> None:
    load_tile_index(folder)
    damage(folder)
    with pytest.raises(InferenceError, match=r"maps/index cannot be read as a tile index"):
        load_tile_index(folder)


def test_arrays_of_another_index_are_refused(folder: Path, tmp_path: Path) -> None:
    save_tile_index(index_of(seed=3), tmp_path / "other")
    (tmp_path / "other" / "positions_m.npy").replace(folder / "positions_m.npy")
    with pytest.raises(InferenceError, match=r"positions_m\.npy has SHA-256"):
        load_tile_index(folder)
