"""Settings to pipeline through a store: gate, memory budget and fidelity, with a small network in the real runtimes."""

from __future__ import annotations

import math
import re
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gps_denied_inference.cli.main import main
from gps_denied_inference.core.architectures import ArchitectureRegistry
from gps_denied_inference.core.assembly import assemble_pipeline
from gps_denied_inference.core.contracts import ImageFrame, PrecisionMode, RuntimeLabel
from gps_denied_inference.core.engines import EngineFileName, EngineStore, HostTuple, MemoryBudget
from gps_denied_inference.core.engines.build import BuildRequest, build_engine
from gps_denied_inference.core.errors import (
    EngineError,
    EngineFidelityError,
    EngineHashMismatchError,
    EngineManifestError,
    EngineSidecarMissingError,
    GpsDeniedInferenceError,
    OutOfMemoryError,
)
from gps_denied_inference.core.health import Level, engine_status
from gps_denied_inference.core.interface import RosbagsMessageFactory, model_info_message
from gps_denied_inference.core.pipeline import Pipeline
from gps_denied_inference.core.settings import ENGINE_FIELDS, GENERAL_FIELDS, settings_from_mapping
from gps_denied_inference.core.settings.field import SettingField

torch = pytest.importorskip("torch", reason="torch is not installed")
from gps_denied_inference.core.runtime.pytorch_fp16 import PytorchFp16Runtime  # noqa: E402 - with torch
from test.core.runtime.reference_networks import (  # noqa: E402 - needs torch
    REFERENCE_CNN,
    ReferenceCnn,
    reference_registry,
    spec_for,
    write_reference_checkpoint,
)

_HOST = HostTuple(machine="x86_64")
_FRAME = ImageFrame(7, "camera", "rgb8", 48, 64, 192, False, np.random.default_rng(0).integers(0, 255, 9216, np.uint8))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stored")
    request = BuildRequest(
        REFERENCE_CNN, RuntimeLabel.PYTORCH_FP16, PrecisionMode.FP32, write_reference_checkpoint(folder)
    )
    build_engine(request, EngineStore(folder / "store"), registry=reference_registry(), host=_HOST)
    return folder / "store"


@pytest.fixture
def store(built: Path, tmp_path: Path) -> EngineStore:
    return EngineStore(Path(shutil.copytree(built, tmp_path / "store")))


def values_for(store: EngineStore, **changes: object) -> dict[str, object]:
    return {
        "engine_store": str(store.root),
        "primary.runtime": "pytorch_fp16",
        "primary.model": REFERENCE_CNN,
        "primary.precision": "fp32",
        "primary.device": "cpu",
        **changes,
    }


def assemble(
    values: dict[str, object],
    *,
    registry: ArchitectureRegistry | None = None,
    memory_budget: MemoryBudget | None = None,
) -> Pipeline:
    return assemble_pipeline(
        settings_from_mapping(values),
        registry=reference_registry() if registry is None else registry,
        memory_budget=memory_budget,
        host=_HOST,
    )


def engine_path(store: EngineStore) -> Path:
    return store.path_of(store.manifest().entries[-1])


def test_stored_engine_is_gated_checked_and_told_everywhere(store: EngineStore) -> None:
    with assemble(values_for(store)) as pipeline:
        model = pipeline.model
        assert pipeline.process(_FRAME).model == model
    fidelity = model.fidelity
    assert model.is_gated and not model.gate_complaint and fidelity is not None
    assert fidelity.count == 8 and fidelity.minimum > 0.999
    assert model.engine_file == engine_path(store).name
    info = model_info_message(RosbagsMessageFactory(), model, stamp_ns=1, camera_id="camera")
    assert (info.fidelity_count, info.is_gated, info.gate_complaint) == (8, True, "")
    assert (info.fidelity_min_cosine, info.fidelity_mean_cosine) == (fidelity.minimum, fidelity.mean)
    assert math.isnan(info.fidelity_repeatability)
    status = engine_status(model, "active", "")
    assert status.values["gate"] == "passed"
    assert f"min {fidelity.minimum:.6f}" in status.values["fidelity"] and "8 golden" in status.values["fidelity"]


# The gate.


def remove_sidecar(path: Path) -> None:
    path.with_name(f"{path.name}.sha256").unlink()


def append_byte(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0")


def forget(path: Path) -> None:
    (path.parent / "manifest.json").write_text('{"engines": [], "schema_version": 1}')


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (remove_sidecar, EngineSidecarMissingError),
        (append_byte, EngineHashMismatchError),
        (forget, EngineManifestError),
    ],
)
def test_refused_engine_is_never_handed_to_a_runtime(
    damage: Callable[[Path], None], error: type[EngineError], store: EngineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = engine_path(store)
    damage(path)
    loaded: list[object] = []
    monkeypatch.setattr(PytorchFp16Runtime, "deserialize_engine", lambda _self, entry: loaded.append(entry))
    for values in (values_for(store), values_for(store, **{"primary.engine_file": path.name})):
        with pytest.raises(error):
            assemble(values)
    assert loaded == []


def alternatives(field: SettingField, store: EngineStore, checkpoint: Path) -> list[object]:
    """Other values of a setting, as far as they differ in kind."""
    if isinstance(field.default, bool):
        return [True, False]
    if field.choices:
        return [[choice] for choice in field.choices] if isinstance(field.default, tuple) else list(field.choices)
    if isinstance(field.default, int | float):
        found = [value for value in (field.minimum, field.maximum) if value is not None]
        return [int(value) for value in found] if isinstance(field.default, int) else list(found)
    texts = ["", "cpu", "cuda:0", str(checkpoint), str(checkpoint.parent), str(store.root), engine_path(store).name]
    return [[text] for text in texts] if isinstance(field.default, tuple) else list(texts)


def test_no_setting_but_allow_ungated_leads_around_the_gate(store: EngineStore, tmp_path: Path) -> None:
    # Weights that would load, wherever a setting may look for them.
    checkpoint = write_reference_checkpoint(tmp_path)
    script = tmp_path / "script.yaml"
    script.write_text("latency_ms: 0\n")
    remove_sidecar(engine_path(store))
    refusals: Counter[bool] = Counter()
    for prefix, fields in (("", GENERAL_FIELDS), ("primary.", ENGINE_FIELDS)):
        for field in fields:
            if field.name == "allow_ungated":
                continue
            for value in alternatives(field, store, checkpoint):
                for others in (
                    {},
                    {"allow_cpu_fallback": True, "fidelity_min_cosine": 0.0, "primary.checkpoint": str(checkpoint)},
                    {"engine_store": "", "weights_dir": str(tmp_path)},
                    {"primary.runtime": "fake", "primary.checkpoint": str(script)},
                ):
                    values = {**values_for(store), **others, f"{prefix}{field.name}": value}
                    with pytest.raises(GpsDeniedInferenceError) as caught:
                        assemble(values)
                    refusals[isinstance(caught.value, EngineError)] += 1
    # The others name a wrong or impossible setting.
    assert refusals[True] > 200 > refusals[False]


@pytest.mark.parametrize("is_bare", [False, True])
def test_ungated_engine_is_shown_as_such(is_bare: bool, store: EngineStore, tmp_path: Path) -> None:
    remove_sidecar(engine_path(store))
    values = values_for(store, allow_ungated=True)
    if is_bare:
        values |= {"engine_store": "", "primary.checkpoint": str(write_reference_checkpoint(tmp_path))}
    with assemble(values) as pipeline:
        model = pipeline.model
        pipeline.process(_FRAME)
    assert not model.is_gated
    assert ("bare checkpoint" if is_bare else ".sha256 cannot be read") in model.gate_complaint
    status = engine_status(model, "active", "")
    assert status.level is Level.WARN and "not for flight" in status.message
    assert model.gate_complaint in status.values["gate"]
    info = model_info_message(RosbagsMessageFactory(), model, stamp_ns=1, camera_id="camera")
    assert not info.is_gated and info.gate_complaint == model.gate_complaint


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("primary.model", "styled_tensor", r"runs 'reference_cnn' .* set to 'styled_tensor'"),
        # Of a file that is named, it is not what the store is searched for.
        ("primary.precision", "fp16", r"in fp32, but engine 'primary' .* in fp16"),
    ],
)
def test_engine_of_another_network_or_precision_is_refused_even_ungated(
    setting: str, value: str, words: str, store: EngineStore
) -> None:
    values = values_for(store, **{"primary.engine_file": engine_path(store).name, setting: value})
    for allow_ungated in (False, True):
        with pytest.raises(EngineManifestError, match=words):
            assemble({**values, "allow_ungated": allow_ungated})
    forget(engine_path(store))
    with pytest.raises(EngineManifestError, match=words):
        assemble({**values, "allow_ungated": True})


def test_engine_for_another_preprocessing_is_refused(store: EngineStore) -> None:
    registry = ArchitectureRegistry()
    spec = spec_for((1, 3, 32, 32), ("descriptor",), 8)
    preprocess = replace(spec.preprocess, std=(128.0, 128.0, 128.0))
    registry.register(REFERENCE_CNN, ReferenceCnn, spec=replace(spec, preprocess=preprocess))
    with pytest.raises(EngineManifestError, match="another preprocessing"):
        assemble(values_for(store), registry=registry)


# Fidelity.


def test_engine_without_golden_outputs_is_not_trusted(store: EngineStore) -> None:
    (entry,) = store.manifest().entries
    content = store.path_of(entry).read_bytes()
    store.remove(entry)
    store.add(content, name=EngineFileName.parse(entry.file_name), details=entry)
    with pytest.raises(EngineFidelityError, match="no golden set"):
        assemble(values_for(store))


def test_unfaithful_engine_is_not_activated_and_gives_its_memory_back(store: EngineStore) -> None:
    (entry,) = store.manifest().entries
    path = store.path_of(entry)
    state_dict: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    state_dict["head.weight"] = state_dict["head.weight"].flip(1)
    damaged = path.parent.parent / "damaged.pt"
    torch.save(state_dict, damaged)
    golden = store.golden_of(entry)
    assert golden is not None
    name = EngineFileName.parse(entry.file_name)
    store.add(damaged, name=name, details=entry, artefacts={".golden.npz": golden[0].read_bytes()})
    budget = MemoryBudget(1 << 30)
    values = values_for(store, allow_cpu_fallback=True, **{"primary.device": "cuda:0"})
    with pytest.raises(EngineFidelityError, match="not faithful"):
        assemble(values, memory_budget=budget)
    assert budget.snapshot() == {}
    # Ungated engines are measured as well, where there is something to compare with.
    remove_sidecar(engine_path(store))
    with pytest.raises(EngineFidelityError, match="not faithful"):
        assemble({**values, "allow_ungated": True})


# A missing engine.


@pytest.mark.parametrize("is_named", [False, True])
def test_missing_engine_fails_with_the_line_that_builds_it_and_the_line_works(
    is_named: bool, store: EngineStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights_dir = tmp_path / "my weights"
    weights_dir.mkdir()
    write_reference_checkpoint(weights_dir)
    (tmp_path / "networks_of_a_test.py").write_text(
        "from test.core.runtime.reference_networks import REFERENCE_CNN, ReferenceCnn, spec_for\n"
        "def register(registry):\n"
        "    spec = spec_for((1, 3, 32, 32), ('descriptor',), 8)\n"
        "    registry.register(REFERENCE_CNN, ReferenceCnn, spec=spec)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    empty = EngineStore(tmp_path / "my engines")
    values = values_for(
        empty,
        architecture_modules=["networks_of_a_test"],
        weights_dir=str(weights_dir),
        **({"primary.engine_file": engine_path(store).name} if is_named else {}),
    )
    settings = settings_from_mapping(values)
    with pytest.raises(EngineManifestError) as caught:
        assemble_pipeline(settings, host=_HOST)
    assert not empty.root.exists()
    line = re.search(r"gdi engine build .*", str(caught.value))
    assert line is not None
    program, *arguments = shlex.split(line.group())
    assert program == "gdi" and main(arguments) == 0
    settings = settings_from_mapping({**values, "primary.engine_file": ""})
    with assemble_pipeline(settings, host=_HOST) as pipeline:
        assert pipeline.model.is_gated
    sys.modules.pop("networks_of_a_test")


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({"primary.device": "cpu"}, ["--provider", "cpu"]),
        ({"primary.device": "cuda:0"}, ["--provider", "tensorrt"]),
        # With leave to fall back, the line is one that works on this computer, which has no GPU.
        ({"primary.device": "cuda:0", "allow_cpu_fallback": True}, ["--provider", "cpu"]),
        ({"primary.device": "cuda:0", "primary.onnx_providers": ["cuda", "cpu"]}, ["--provider", "cuda"]),
    ],
)
def test_line_for_onnx_names_the_provider_that_the_settings_prefer(
    changes: dict[str, object], options: list[str], store: EngineStore
) -> None:
    with pytest.raises(EngineManifestError) as caught:
        assemble(values_for(store, **{"primary.runtime": "onnx_trt_ep", **changes}))
    expected = ["--store", str(store.root), *options]
    assert shlex.split(str(caught.value))[-len(expected) :] == expected


def test_line_accepts_the_licence_that_the_settings_accept(store: EngineStore) -> None:
    registry = ArchitectureRegistry()
    spec = replace(
        spec_for((1, 3, 32, 32), ("descriptor",), 8), license="Research-1.0", license_restriction="no drones"
    )
    registry.register("restricted", ReferenceCnn, spec=spec)
    values = values_for(store, accepted_licenses=["Research-1.0"], **{"primary.model": "restricted"})
    with pytest.raises(EngineManifestError, match=r"--accept-license Research-1\.0$"):
        assemble(values, registry=registry)


# The memory budget.


def test_engine_beyond_the_budget_is_refused_before_it_is_loaded_and_the_resident_works_on(
    store: EngineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    need = store.manifest().entries[0].memory_bytes
    budget = MemoryBudget(2 * need - 1)
    values = values_for(store, allow_cpu_fallback=True, **{"primary.device": "cuda:0"})
    first = assemble(values, memory_budget=budget)
    before = first.process(_FRAME).features
    residents = budget.snapshot()
    assert list(residents.values()) == [need]
    with monkeypatch.context() as patched:
        patched.setattr(PytorchFp16Runtime, "deserialize_engine", lambda *_: pytest.fail("it was loaded"))
        with pytest.raises(OutOfMemoryError, match=r"gpu_memory_budget_bytes") as caught:
            assemble(values, memory_budget=budget)
    assert next(iter(residents)) in str(caught.value)
    assert budget.snapshot() == residents
    after = first.process(_FRAME).features
    np.testing.assert_array_equal(getattr(before, "values", 0), getattr(after, "values", 1))
    first.close()
    assert budget.snapshot() == {}
    with assemble(values, memory_budget=budget) as second:
        second.process(_FRAME)
    assert budget.snapshot() == {}


def test_engine_on_the_cpu_takes_no_gpu_memory(store: EngineStore) -> None:
    budget = MemoryBudget(0)
    with assemble(values_for(store), memory_budget=budget) as pipeline:
        pipeline.process(_FRAME)
        assert budget.snapshot() == {}
