"""A real engine, compiled without a GPU for computers that have one: stored, signed, gated, and refused here."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gps_denied_inference.cli.main import main
from gps_denied_inference.core.assembly import assemble_pipeline
from gps_denied_inference.core.contracts import OptimizationProfile, PrecisionMode, RuntimeLabel
from gps_denied_inference.core.engines import EngineGate, EngineStore, HostTuple, ManifestEntry, probe_host
from gps_denied_inference.core.engines.build import STAGES, BuildRequest, build_engine
from gps_denied_inference.core.engines.file_name import EngineFileName
from gps_denied_inference.core.engines.golden import read_golden
from gps_denied_inference.core.engines.signature import generate_key
from gps_denied_inference.core.errors import (
    EngineBuildError,
    EngineDeserializeError,
    EngineError,
    EngineManifestError,
    EngineSchemaMismatchError,
)
from gps_denied_inference.core.runtime.tensorrt_logger import TensorrtReportedError
from gps_denied_inference.core.settings import EngineSettings, Settings

trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
pytest.importorskip("torch", reason="torch is not installed")
from test.core.runtime.reference_networks import (  # noqa: E402 - needs torch
    REFERENCE_CNN,
    reference_registry,
    write_reference_checkpoint,
)

MODEL = "efficientnet_lite0_grid"
VEHICLE = HostTuple(sms=("86",), cuda="13.0", tensorrt_rtx=trt.__version__, machine="x86_64")
FITTING_HERE = {"86", "89"} & set(probe_host().sms)


@dataclass(frozen=True)
class Prepared:
    """What the operator has after `gdi engine build`."""

    store: EngineStore
    entry: ManifestEntry
    public_key: Path
    told: str

    @property
    def path(self) -> Path:
        return self.store.path_of(self.entry)


@pytest.fixture(scope="module")
def prepared(grid_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("prepared")
    private = folder / "fleet.pem"
    public = generate_key(private)
    capture = pytest.MonkeyPatch()
    said: list[str] = []
    capture.setattr("gps_denied_inference.cli.engine.build.say", said.append)
    try:
        status = main(
            [
                *("engine", "build", MODEL, "--runtime", "tensorrt", "--flavour", "tensorrt_rtx", "--sm", "89,86"),
                *("--precision", "fp16", "--onnx", str(grid_onnx), "--workspace-mib", "512"),
                *("--store", str(folder / "store"), "--sign-with", str(private), "--json"),
            ]
        )
    finally:
        capture.undo()
    assert status == 0
    store = EngineStore(folder / "store")
    (entry,) = store.manifest().entries
    return Prepared(store, entry, public, said[0])


def test_the_name_says_what_it_is_for(prepared: Prepared) -> None:
    name = EngineFileName.parse(prepared.entry.file_name)
    assert (name.model, name.runtime, name.precision) == (MODEL, RuntimeLabel.TENSORRT, PrecisionMode.FP16)
    assert (name.sms, name.platform, name.toolchain) == (("86", "89"), "any", f"rtx{trt.__version__}")
    assert name.suffix == ".engine" and prepared.entry.sha256.startswith(name.digest)
    assert json.loads(prepared.told)["engine"] == str(prepared.path)


def test_the_manifest_says_how_it_was_made(prepared: Prepared, grid_onnx: Path, grid_checkpoint: Path) -> None:
    import hashlib

    entry = prepared.entry
    assert entry.source_onnx_sha256 == hashlib.sha256(grid_onnx.read_bytes()).hexdigest()
    assert entry.weights_sha256 == hashlib.sha256(grid_checkpoint.read_bytes()).hexdigest()
    assert entry.build_flags == {"flavour": "tensorrt_rtx", "sms": "89,86", "workspace_mib": "512"}
    assert entry.profiles == () and entry.memory_bytes > entry.size_bytes and entry.license == "Apache-2.0"
    golden = prepared.store.golden_of(entry)
    assert golden is not None and read_golden(*golden).weights_sha256 == entry.weights_sha256


def test_the_gate_lets_it_run_on_its_vehicle(prepared: Prepared) -> None:
    gate = EngineGate(prepared.store, VEHICLE, require_signature=True, trusted_keys=(prepared.public_key,))
    found = prepared.store.find(model=MODEL, runtime=RuntimeLabel.TENSORRT, precision=PrecisionMode.FP16, host=VEHICLE)
    verdict = gate.validate(prepared.store.path_of(found))
    assert [step.name for step in verdict.steps if step.passed] == [
        "schema", "host", "sidecar", "hash", "manifest", "signature",
    ]  # fmt: skip
    entry = verdict.require()
    assert probe_host().tensorrt_rtx == trt.__version__  # what the gate compares on the vehicle
    assert entry.extras["flavour"] == "tensorrt_rtx" and entry.tensorrt == f"rtx{trt.__version__}"


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (replace(VEHICLE, sms=("87",)), "built for SM 86, 89, this computer has SM 87"),
        (replace(VEHICLE, tensorrt_rtx="1.6.0"), "this computer has TensorRT for RTX 1.6.0"),
        (replace(VEHICLE, tensorrt_rtx="", tensorrt="10.3.0"), "this computer has no TensorRT for RTX"),
    ],
)
def test_the_gate_refuses_it_elsewhere(prepared: Prepared, host: HostTuple, words: str) -> None:
    verdict = EngineGate(prepared.store, host).validate(prepared.path)
    with pytest.raises(EngineSchemaMismatchError, match=words):
        verdict.require()


@pytest.mark.skipif(bool(FITTING_HERE), reason="this computer has a GPU that the engine is for")
def test_this_computer_refuses_it_twice(prepared: Prepared) -> None:
    """By the gate; and by TensorRT itself, when the gate is overruled."""
    engine = EngineSettings(
        runtime=RuntimeLabel.TENSORRT, model=MODEL, precision=PrecisionMode.FP16, engine_file=prepared.entry.file_name
    )
    settings = Settings(
        engines=(engine,), engine_store=prepared.store.root, require_signature=True, trusted_keys=(prepared.public_key,)
    )
    with pytest.raises(EngineSchemaMismatchError, match="it was built for SM 86, 89") as refused:
        assemble_pipeline(settings)
    assert "gdi engine build" in str(refused.value)
    with pytest.raises(EngineDeserializeError, match="TensorRT for RTX") as forced:
        assemble_pipeline(replace(settings, allow_ungated=True))
    cause = forced.value.__cause__
    assert isinstance(cause, TensorrtReportedError) and cause.first in str(forced.value)


def test_without_an_engine_that_fits_the_line_that_builds_one_is_told(prepared: Prepared) -> None:
    engine = EngineSettings(runtime=RuntimeLabel.TENSORRT, model=MODEL, tensorrt_flavour="tensorrt_rtx")
    settings = Settings(engines=(engine,), engine_store=prepared.store.root)
    with pytest.raises(EngineError, match=r"--runtime tensorrt --precision fp16 .*--flavour tensorrt_rtx"):
        assemble_pipeline(settings, host=replace(VEHICLE, sms=("75",)))


def test_a_bare_onnx_file_is_never_compiled_while_loading(grid_onnx: Path) -> None:
    engine = EngineSettings(runtime=RuntimeLabel.TENSORRT, model=MODEL, checkpoint=grid_onnx)
    with pytest.raises(EngineManifestError, match="gdi engine build efficientnet_lite0_grid --runtime tensorrt"):
        assemble_pipeline(Settings(engines=(engine,), allow_ungated=True))


# What a build does with a small network, from its own export on.


@pytest.fixture
def request_(tmp_path: Path) -> BuildRequest:
    return BuildRequest(
        REFERENCE_CNN,
        RuntimeLabel.TENSORRT,
        checkpoint=write_reference_checkpoint(tmp_path),
        flavour="tensorrt_rtx",
        options={"sms": "86"},
    )


def test_a_build_exports_the_network_itself(request_: BuildRequest, tmp_path: Path) -> None:
    store = EngineStore(tmp_path / "store")
    told: list[tuple[str, float]] = []
    entry = build_engine(
        request_, store, registry=reference_registry(), host=VEHICLE, on_progress=lambda *item: told.append(item)
    )
    positions = [STAGES.index(stage) + fraction for stage, fraction in told]
    assert positions == sorted(positions) and positions[-1] == len(STAGES)
    assert len([fraction for stage, fraction in told if stage == "compile"]) > 10
    assert int(entry.build_flags["opset"]) >= 18 and entry.build_flags["sms"] == "86"
    assert EngineGate(store, VEHICLE).validate(store.path_of(entry)).is_accepted


@pytest.mark.parametrize("stage", ["export", "compile", "store"])
def test_an_interrupted_build_leaves_the_store_as_it_was(
    prepared: Prepared, request_: BuildRequest, tmp_path: Path, stage: str
) -> None:
    store = EngineStore(tmp_path / "store")
    shutil.copytree(prepared.store.root, store.root)
    before = {path.name: path.read_bytes() for path in store.root.iterdir()}

    def interrupt(told: str, fraction: float) -> None:
        if told == stage and (fraction > 0.5 or stage != "compile"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_engine(request_, store, registry=reference_registry(), host=VEHICLE, on_progress=interrupt)
    assert {path.name: path.read_bytes() for path in store.root.iterdir()} == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"options": {"sms": "87"}}, "does not compile for SM 87"),
        ({"precision": PrecisionMode.INT8}, "int8"),
        ({"options": {"sms": "86", "calibration_images": "images.npy"}, "precision": PrecisionMode.INT8}, "Q/DQ"),
        ({"onnx": Path("absent.onnx")}, "absent"),
        ({"profiles": (OptimizationProfile("picture", (1,), (1,), (1,)),)}, "picture"),
        ({"runtime": RuntimeLabel.ONNX_TRT_EP, "onnx": Path("own.onnx")}, "compiled by tensorrt"),
    ],
)
def test_a_build_that_cannot_be_done_leaves_no_store(
    request_: BuildRequest, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    store = EngineStore(tmp_path / "store")
    with pytest.raises(EngineBuildError, match=words):
        build_engine(replace(request_, **changes), store, registry=reference_registry(), host=VEHICLE)  # type: ignore[arg-type]
    assert not store.root.exists()
