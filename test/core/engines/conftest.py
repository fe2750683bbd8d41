"""Networks, their weights and golden sets: made once, since each takes a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gps_denied_inference.core.architectures import ArchitectureEntry, default_registry, locate_weights
from gps_denied_inference.core.engines.crops import load_crops
from gps_denied_inference.core.engines.golden import GoldenSet, make_golden


@pytest.fixture(scope="session")
def crops() -> NDArray[np.uint8]:
    return load_crops()


@pytest.fixture(scope="session")
def grid() -> ArchitectureEntry:
    return default_registry().lookup("efficientnet_lite0_grid")


@pytest.fixture(scope="session")
def grid_checkpoint(grid: ArchitectureEntry) -> Path:
    return locate_weights(grid.spec, grid.name, None)


@pytest.fixture(scope="session")
def grid_golden(grid: ArchitectureEntry, grid_checkpoint: Path, crops: NDArray[np.uint8]) -> GoldenSet:
    return make_golden(grid, grid_checkpoint, crops)


@pytest.fixture(scope="session")
def xfeat() -> ArchitectureEntry:
    return default_registry().lookup("xfeat")


@pytest.fixture(scope="session")
def xfeat_checkpoint(xfeat: ArchitectureEntry) -> Path:
    return locate_weights(xfeat.spec, xfeat.name, None)


@pytest.fixture(scope="session")
def xfeat_golden(xfeat: ArchitectureEntry, xfeat_checkpoint: Path, crops: NDArray[np.uint8]) -> GoldenSet:
    return make_golden(xfeat, xfeat_checkpoint, crops[:3])
