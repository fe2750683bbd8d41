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

from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.index import TileIndex, TileIndexDetails, load_tile_index, save_tile_index

_SPACE = "net/16/0123456789ab/01234567"


def index_of(count: int = 50, dimension: int = 16, seed: int = 0) -> TileIndex:
    generator = np.random.default_rng(seed)
    return TileIndex(
        _SPACE,
        generator.normal(size=(count, dimension)).astype(np.float32),
        generator.normal(size=(count, 2)),
        generator.uniform(0, 360, count),
        TileIndexDetails("net", "ab" * 32, "EPSG:32612", 80.0, 1.5, (("map.tif", "cd" * 32),)),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "maps" / "map.index"
    save_tile_index(index_of(), path)
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(st.integers(1, 30), st.integers(1, 20), st.integers(0, 99))
def test_loaded_index_answers_as_the_one_in_memory(tmp_path: Path, count: int, dimension: int, seed: int) -> None:
    index = index_of(count, dimension, seed)
    sha256 = save_tile_index(index, tmp_path / "index")
    loaded = load_tile_index(tmp_path / "index")
    assert (len(loaded), loaded.dimension, loaded.space_id) == (count, dimension, _SPACE)
    assert (loaded.details, loaded.sha256) == (index.details, sha256)
    query = np.random.default_rng(seed + 1).normal(size=dimension).astype(np.float32)
    assert loaded.search(query, _SPACE, k=5) == index.search(query, _SPACE, k=5)


def test_descriptors_stay_in_their_file(path: Path) -> None:
    loaded = load_tile_index(path)
    base: Any = loaded.descriptors
    while not isinstance(base, np.memmap):
        base = base.base
    assert Path(str(base.filename)) == path
    assert not loaded.descriptors.flags.writeable


def test_same_index_gives_the_same_file_and_takes_the_old_ones_place(path: Path) -> None:
    before = path.read_bytes()
    save_tile_index(index_of(), path)
    assert path.read_bytes() == before
    save_tile_index(index_of(seed=1), path)
    assert load_tile_index(path).descriptors[0] == pytest.approx(index_of(seed=1).descriptors[0])
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_file_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    with pytest.raises(InferenceError, match="is no gps_denied_inference tile index"):
        save_tile_index(index_of(), precious)
    with pytest.raises(InferenceError, match="is no gps_denied_inference tile index"):
        save_tile_index(index_of(), tmp_path)
    assert precious.read_text() == "precious"
    with pytest.raises(InferenceError, match="cannot write"):
        save_tile_index(index_of(), precious / "index")


def _edit(**changes: object) -> Callable[[Path], object]:
    """Change the header and leave the arrays where they are."""

    def edit(path: Path) -> None:
        first, rest = path.read_bytes().split(b"\n", 1)
        length = int(rest[:12])
        header = json.dumps({**json.loads(rest[13 : 13 + length]), **changes}).encode()
        path.write_bytes(first + b"\n" + f"{length:012d}\n".encode() + header.ljust(length) + rest[13 + length :])

    return edit


def _flip(offset: int) -> Callable[[Path], object]:
    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[offset] ^= 1
        path.write_bytes(content)

    return flip


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes()[:4096]),
        _flip(0),
        _flip(36),
        _flip(4096),
        _flip(-1),
        _edit(dimension=17),
        _edit(count=51),
        _edit(count=-1),
        _edit(arrays={}),
        _edit(arrays=None),
        _edit(details={"wrong": 1, "maps": []}),
    ],
)
def test_damaged_index_is_refused_by_its_file(damage: Callable[[Path], object], path: Path) -> None:
    load_tile_index(path)
    damage(path)
    with pytest.raises(InferenceError, match=r"maps/map\.index cannot be read as a tile index"):
        load_tile_index(path)
