"""A ladder whose last rung is another runtime: gated engines of one store, in one space, within one memory budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gps_denied_inference.core.assembly import assemble_pipeline
from gps_denied_inference.core.contracts import GlobalDescriptor, ImageFrame, PrecisionMode, RuntimeLabel
from gps_denied_inference.core.engines import EngineStore, HostTuple, MemoryBudget
from gps_denied_inference.core.engines.build import BuildRequest, build_engine
from gps_denied_inference.core.errors import EngineManifestError, OutOfMemoryError
from gps_denied_inference.core.governor import Ladder, LoadedLadder, Rung
from gps_denied_inference.core.pipeline import Pipeline
from gps_denied_inference.core.settings import EngineSettings, Settings, settings_from_mapping

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
from test.core.runtime.reference_networks import (
    REFERENCE_CNN,
    reference_registry,
    write_reference_checkpoint,
)

_HOST = HostTuple(machine="x86_64")
_FRAME = ImageFrame(7, "camera", "rgb8", 48, 64, 192, False, np.random.default_rng(0).integers(0, 255, 9216, np.uint8))
_LADDER = Ladder((Rung("full"), Rung("baseline", runtime=RuntimeLabel.PYTORCH_FP16)))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stored")
    checkpoint = write_reference_checkpoint(folder)
    for runtime in (RuntimeLabel.ONNX_TRT_EP, RuntimeLabel.PYTORCH_FP16):
        request = BuildRequest(REFERENCE_CNN, runtime, PrecisionMode.FP32, checkpoint)
        build_engine(request, EngineStore(folder / "store"), registry=reference_registry(), host=_HOST)
    return folder / "store"


def _settings(store: Path, device: str = "cpu") -> Settings:
    return settings_from_mapping(
        {
            "engine_store": str(store),
            "allow_cpu_fallback": device != "cpu",
            "primary.model": REFERENCE_CNN,
            "primary.runtime": "onnx_trt_ep",
            "primary.precision": "fp32",
            "primary.device": device,
        }
    )


def _loader(settings: Settings, budget: MemoryBudget) -> Callable[[EngineSettings], Pipeline]:
    def load(engine: EngineSettings) -> Pipeline:
        changed = replace(settings, engines=(engine,))
        return assemble_pipeline(changed, registry=reference_registry(), memory_budget=budget, host=_HOST)

    return load


def test_fallback_runtime_is_gated_and_stays_in_the_space(store: Path) -> None:
    settings = _settings(store)
    load = _loader(settings, MemoryBudget(1))
    with load(settings.engine()) as top:
        loaded = LoadedLadder(_LADDER, settings.engine(), top, load)
        normal, baseline = (loaded.processor_of(rung).process(_FRAME) for rung in (0, 1))
        loaded.close()
    assert [result.model.runtime_label for result in (normal, baseline)] == [
        RuntimeLabel.ONNX_TRT_EP,
        RuntimeLabel.PYTORCH_FP16,
    ]
    assert baseline.model.is_gated and baseline.model.fidelity is not None
    assert baseline.model.space_id == normal.model.space_id
    assert isinstance(normal.features, GlobalDescriptor) and isinstance(baseline.features, GlobalDescriptor)
    assert np.allclose(normal.features.values, baseline.features.values, atol=1e-5)


def test_engine_that_is_not_in_the_store_is_refused_with_the_line_that_builds_it(store: Path) -> None:
    settings = _settings(store)
    load = _loader(settings, MemoryBudget(1))
    ladder = Ladder((Rung("full"), Rung("half", runtime=RuntimeLabel.PYTORCH_FP16, precision=PrecisionMode.FP16)))
    with load(settings.engine()) as top, pytest.raises(EngineManifestError, match="gdi engine build"):
        LoadedLadder(ladder, settings.engine(), top, load)


def test_ladder_that_does_not_fit_the_memory_budget_gives_back_what_it_took(store: Path) -> None:
    settings = _settings(store, device="cuda:0")
    generous = MemoryBudget(10**12)
    with _loader(settings, generous)(settings.engine()) as top:
        need = sum(generous.snapshot().values())
        fits = LoadedLadder(_LADDER, settings.engine(), top, _loader(settings, generous))
        both = sum(generous.snapshot().values())
        fits.close()
    assert need < both and not generous.snapshot()
    tight = MemoryBudget(both - 1)
    load = _loader(settings, tight)
    with load(settings.engine()) as top:
        with pytest.raises(OutOfMemoryError, match="gpu_memory_budget_bytes"):
            LoadedLadder(_LADDER, settings.engine(), top, load)
        assert sum(tight.snapshot().values()) == need
