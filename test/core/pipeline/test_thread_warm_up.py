from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_identities import model_identity
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import (
    BuildConfig,
    EngineCacheEntry,
    EngineHandle,
    OutputKind,
    RuntimeLabel,
    ThermalState,
)
from gps_denied_inference.core.errors import InferenceError
from gps_denied_inference.core.pipeline import MatchingPipeline, ModelIdentity, Pipeline


class RecordingRuntime:
    """Notes what `infer` is given."""

    def __init__(self) -> None:
        self.batches: list[dict[str, NDArray[Any]]] = []

    def compile_engine(self, model_path: Path, build_config: BuildConfig) -> EngineCacheEntry:
        raise NotImplementedError

    def deserialize_engine(self, entry: EngineCacheEntry) -> EngineHandle:
        raise NotImplementedError

    def infer(self, handle: EngineHandle, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[np.float32]]:
        self.batches.append(dict(inputs))
        return {}

    def release_engine(self, handle: EngineHandle) -> None:
        pass

    def thermal_state(self) -> ThermalState:
        return ThermalState()

    def current_runtime_label(self) -> str:
        return "recording"


def _pipeline(runtime: RecordingRuntime, model: ModelIdentity) -> Pipeline | MatchingPipeline:
    handle = EngineHandle(model.runtime_label, 1, model.name, model.spec.inputs, model.configuration)
    kinds = (OutputKind.MATCHES, OutputKind.CORRESPONDENCES)
    return (MatchingPipeline if model.spec.output_kind in kinds else Pipeline)(runtime, handle, model)


@pytest.mark.parametrize("name", ["efficientnet_lite0_grid", "xfeat", "lightglue_aliked"])
def test_thread_warm_up_runs_every_declared_input_once_on_zeros(name: str) -> None:
    runtime = RecordingRuntime()
    model = replace(model_identity(name), runtime_label=RuntimeLabel.PYTORCH_FP16)
    _pipeline(runtime, model).warm_up_thread()
    (batch,) = runtime.batches
    shapes = {key: (values.shape, values.dtype.name, bool(values.any())) for key, values in batch.items()}
    assert shapes == {item.name: (item.shape, item.dtype, False) for item in model.spec.inputs}


@pytest.mark.parametrize("name", ["efficientnet_lite0_grid", "lightglue_aliked"])
def test_thread_warm_up_leaves_the_scripted_answers_of_the_fake_runtime_alone(name: str) -> None:
    runtime = RecordingRuntime()
    _pipeline(runtime, model_identity(name)).warm_up_thread()
    assert runtime.batches == []


@pytest.mark.parametrize("name", ["efficientnet_lite0_grid", "lightglue_aliked"])
def test_thread_warm_up_of_a_closed_pipeline_is_refused(name: str) -> None:
    pipeline = _pipeline(RecordingRuntime(), model_identity(name))
    pipeline.close()
    with pytest.raises(InferenceError, match="closed"):
        pipeline.warm_up_thread()
