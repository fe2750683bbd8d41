"""A build that was killed goes on where it stood, and never on what belongs to another plan."""

from pathlib import Path

import numpy as np
import pytest

from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.index import PartialIndex

_ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


def test_rows_of_an_earlier_build_are_kept_but_for_a_broken_last_one(tmp_path: Path) -> None:
    path = tmp_path / "map.index.partial"
    with PartialIndex(path, {"map": 1}, 3) as partial:
        for row in _ROWS[:2]:
            partial.append(row)
    with path.open("ab") as file:
        file.write(b"half")
    with PartialIndex(path, {"map": 1}, 3) as partial:
        assert partial.count == 2
        for row in _ROWS[2:]:
            partial.append(row)
        np.testing.assert_array_equal(partial.rows(), _ROWS)
        partial.remove()
    assert not path.exists()


def test_rows_of_another_plan_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "map.index.partial"
    with PartialIndex(path, {"map": 1}, 3) as partial:
        partial.append(_ROWS[0])
    with PartialIndex(path, {"map": 2}, 3) as partial:
        assert partial.count == 0
        assert partial.rows().shape == (0, 3)


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(InferenceError, match=r"absent/map\.partial"):
        PartialIndex(tmp_path / "absent" / "map.partial", {}, 3)
