"""Builds put a checked engine into the store, or leave the store as it was."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gps_denied_inference.core.architectures import ArchitectureEntry, ArchitectureRegistry, default_registry
from gps_denied_inference.core.contracts import PrecisionMode, RuntimeLabel
from gps_denied_inference.core.engines import EngineGate, EngineStore, HostTuple, ManifestEntry
from gps_denied_inference.core.engines.build import STAGES, BuildRequest, build_engine
from gps_denied_inference.core.engines.fidelity import measure_fidelity
from gps_denied_inference.core.engines.golden import read_golden
from gps_denied_inference.core.errors import (
    EngineBuildError,
    GpsDeniedInferenceError,
    UnknownArchitectureError,
)
from gps_denied_inference.core.runtime.pytorch_fp16 import PytorchFp16Runtime

Built = tuple[EngineStore, ManifestEntry, list[tuple[str, float]]]

HOST = HostTuple(machine="x86_64")
REQUEST = BuildRequest("efficientnet_lite0_grid", RuntimeLabel.PYTORCH_FP16, PrecisionMode.FP32)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    store = EngineStore(tmp_path_factory.mktemp("engines") / "store")
    told: list[tuple[str, float]] = []
    entry = build_engine(
        REQUEST,
        store,
        registry=default_registry(),
        host=HOST,
        on_progress=lambda stage, fraction: told.append((stage, fraction)),
    )
    return store, entry, told


def test_torch_engine_is_the_checkpoint_verbatim(built: Built, grid_checkpoint: Path) -> None:
    store, entry, _ = built
    assert store.path_of(entry).read_bytes() == grid_checkpoint.read_bytes()
    assert entry.sha256 == entry.weights_sha256 == hashlib.sha256(grid_checkpoint.read_bytes()).hexdigest()
    assert entry.license == "Apache-2.0" and entry.built_at.endswith("Z")
    # Twice the file and 64 MiB, and the activations: 11 MiB of this network's largest layers, twice.
    assert 10 * 2**20 < entry.memory_bytes - 2 * entry.size_bytes - 64 * 2**20 < 50 * 2**20


def test_built_engine_passes_the_gate_and_is_faithful(built: Built, grid: ArchitectureEntry) -> None:
    store, entry, _ = built
    cache_entry = EngineGate(store, HOST).validate(store.path_of(entry)).require()
    found = store.golden_of(entry)
    assert found is not None and store.strangers() == ()
    golden = read_golden(*found)
    assert golden.weights_sha256 == entry.weights_sha256 and golden.preprocess_sha256 == entry.preprocess_sha256
    with PytorchFp16Runtime(device="cpu") as runtime:
        report = measure_fidelity(runtime, runtime.deserialize_engine(cache_entry), grid.spec, golden)
    report.require(0.999, 0.9)


def test_progress_goes_forward_to_the_end(
    built: Built,
) -> None:
    _, _, told = built
    positions = [STAGES.index(stage) + fraction for stage, fraction in told]
    assert positions == sorted(positions) and positions[-1] == len(STAGES)


def test_built_again_the_engine_takes_its_own_place(built: Built, tmp_path: Path) -> None:
    original, entry, _ = built
    store = EngineStore(tmp_path / "store")
    shutil.copytree(original.root, store.root)
    again = build_engine(REQUEST, store, registry=default_registry(), host=HOST)
    assert again.file_name == entry.file_name and again.artefacts == entry.artefacts
    assert len(store.manifest().entries) == 1


def test_own_checkpoint_is_taken(built: Built, tmp_path: Path) -> None:
    original, entry, _ = built
    state_dict = torch.load(original.path_of(entry), map_location="cpu", weights_only=True)
    state_dict["_conv_stem.weight"] = state_dict["_conv_stem.weight"] * 0.5
    checkpoint = tmp_path / "mine.pth"
    torch.save(state_dict, checkpoint)
    store = EngineStore(tmp_path / "store")
    own = build_engine(replace(REQUEST, checkpoint=checkpoint), store, registry=default_registry(), host=HOST)
    assert own.weights_sha256 == hashlib.sha256(checkpoint.read_bytes()).hexdigest() != entry.weights_sha256
    found, published = store.golden_of(own), original.golden_of(entry)
    assert found is not None and published is not None
    mine, theirs = read_golden(*found), read_golden(*published)
    assert not np.allclose(mine.outputs[0]["descriptor"], theirs.outputs[0]["descriptor"], atol=1e-3)


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        (replace(REQUEST, model="efficientnet"), UnknownArchitectureError, "efficientnet_lite0_grid"),
        (replace(REQUEST, runtime=RuntimeLabel.FAKE), EngineBuildError, "plays a script"),
        (
            replace(REQUEST, runtime=RuntimeLabel.TENSORRT, options={"sms": "8.6"}),
            EngineBuildError,
            "without the point",
        ),
        (replace(REQUEST, precision=PrecisionMode.INT8), EngineBuildError, "int8"),
        (replace(REQUEST, checkpoint=Path("none.pth")), EngineBuildError, "none.pth"),
        (replace(REQUEST, model="xfeat", checkpoint=Path(__file__)), EngineBuildError, "not a checkpoint"),
    ],
)
def test_build_that_cannot_be_done_leaves_no_store(
    request_: BuildRequest, error: type[GpsDeniedInferenceError], words: str, tmp_path: Path
) -> None:
    store = EngineStore(tmp_path / "store")
    with pytest.raises(error, match=words):
        build_engine(request_, store, registry=default_registry(), host=HOST)
    assert not store.root.exists()


@pytest.mark.parametrize("stage", ["weights", "golden outputs", "store"])
def test_interrupted_build_leaves_the_store_as_it_was(stage: str, built: Built, tmp_path: Path) -> None:
    original, _, _ = built
    store = EngineStore(tmp_path / "store")
    shutil.copytree(original.root, store.root)
    before = {path.name: path.read_bytes() for path in store.root.iterdir()}

    def interrupt(told: str, _fraction: float) -> None:
        if told == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_engine(
            replace(REQUEST, precision=PrecisionMode.FP16),
            store,
            registry=default_registry(),
            host=HOST,
            on_progress=interrupt,
        )
    assert {path.name: path.read_bytes() for path in store.root.iterdir()} == before


@pytest.mark.parametrize("runtime", [RuntimeLabel.ONNX_TRT_EP, RuntimeLabel.TENSORRT])
def test_network_with_an_obstacle_to_export_is_refused_with_it(runtime: RuntimeLabel, tmp_path: Path) -> None:
    registry = ArchitectureRegistry()
    entry = default_registry().lookup(REQUEST.model)
    registry.register(entry.name, entry.factory, spec=replace(entry.spec, onnx_obstacle="it counts its own rows"))
    store = EngineStore(tmp_path / "store")
    with pytest.raises(EngineBuildError, match=r"it counts its own rows; build it for pytorch_fp16"):
        build_engine(replace(REQUEST, runtime=runtime), store, registry=registry, host=HOST)
    assert not store.root.exists()
