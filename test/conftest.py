"""An engine store as `gdi engine build` makes it: one build serves all tests, each of which changes a copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def built_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from gps_denied_inference.cli.main import main

    store = tmp_path_factory.mktemp("built") / "store"
    build = ["engine", "build", "efficientnet_lite0_grid", "--store", str(store), "--precision", "fp32"]
    assert main([*build, "--runtime", "onnx_trt_ep"]) == 0
    assert main([*build, "--runtime", "pytorch_fp16"]) == 0
    return store


@pytest.fixture
def store(built_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built_store, tmp_path / "store"))
