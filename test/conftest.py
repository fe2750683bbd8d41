"""What all tests share: no time limit on generated examples, and an engine store as `gdi engine build` makes it."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import hypothesis
import pytest

# A busy processor is no fault of the code: what takes long is measured in benchmarks.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# A shell starts background jobs deaf to Ctrl-C, and their children inherit it: tests that send SIGINT need it heard.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def built_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store that was built once; tests take a copy (`store`)."""
    from gps_denied_inference.cli.main import main

    store = tmp_path_factory.mktemp("built") / "store"
    build = ["engine", "build", "efficientnet_lite0_grid", "--store", str(store), "--precision", "fp32"]
    assert main([*build, "--runtime", "onnx_trt_ep"]) == 0
    assert main([*build, "--runtime", "pytorch_fp16"]) == 0
    return store


@pytest.fixture
def store(built_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built_store, tmp_path / "store"))
