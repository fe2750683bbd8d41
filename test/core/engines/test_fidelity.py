"""The fidelity check passes an engine that is the network, and no damaged one."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gps_denied_inference.core.architectures import ArchitectureEntry, ArchitectureRegistry
from gps_denied_inference.core.architectures.networks.efficientnet_lite0_grid import EfficientNetLite0Grid
from gps_denied_inference.core.assembly import assemble_pipeline
from gps_denied_inference.core.contracts import BuildConfig, EngineHandle, PrecisionMode, ResizeMode, RuntimeLabel
from gps_denied_inference.core.engines import EngineFileName, EngineStore, HostTuple, ManifestEntry
from gps_denied_inference.core.engines.fidelity import FidelityReport, measure_fidelity
from gps_denied_inference.core.engines.golden import GoldenSet, golden_bytes
from gps_denied_inference.core.errors import EngineFidelityError
from gps_denied_inference.core.runtime.pytorch_fp16 import PytorchFp16Runtime
from gps_denied_inference.core.settings import EngineSettings, Settings

MIN_COSINE, MIN_REPEATABILITY = 0.99, 0.9
"""Defaults of the settings."""

StateDict = dict[str, torch.Tensor]


@pytest.fixture
def runtime() -> Iterator[PytorchFp16Runtime]:
    with PytorchFp16Runtime(device="cpu") as runtime:
        yield runtime


def load(runtime: PytorchFp16Runtime, checkpoint: Path, model: str) -> EngineHandle:
    config = BuildConfig(precision=PrecisionMode.FP32, extras={"model_name": model})
    return runtime.deserialize_engine(runtime.compile_engine(checkpoint, config))


def damaged(checkpoint: Path, folder: Path, damage: Callable[[StateDict], None]) -> Path:
    loaded: Any = torch.load(checkpoint, map_location="cpu", weights_only=True)
    state_dict: StateDict = dict(loaded)
    damage(state_dict)
    path = folder / checkpoint.name
    torch.save(state_dict, path)
    return path


def measure(
    runtime: PytorchFp16Runtime, checkpoint: Path, architecture: ArchitectureEntry, golden: GoldenSet
) -> FidelityReport:
    return measure_fidelity(runtime, load(runtime, checkpoint, architecture.name), architecture.spec, golden)


def require_refused(report: FidelityReport) -> None:
    with pytest.raises(EngineFidelityError, match="not faithful"):
        report.require(MIN_COSINE, MIN_REPEATABILITY)


def test_undamaged_global_network_is_accepted(
    runtime: PytorchFp16Runtime, grid: ArchitectureEntry, grid_checkpoint: Path, grid_golden: GoldenSet
) -> None:
    report = measure(runtime, grid_checkpoint, grid, grid_golden)
    report.require(0.9999, MIN_REPEATABILITY)
    assert report.minimum <= report.mean <= 1 + 1e-9
    assert math.isnan(report.repeatability) and report.count == grid_golden.count


def test_undamaged_local_network_is_accepted(
    runtime: PytorchFp16Runtime, xfeat: ArchitectureEntry, xfeat_checkpoint: Path, xfeat_golden: GoldenSet
) -> None:
    report = measure(runtime, xfeat_checkpoint, xfeat, xfeat_golden)
    report.require(0.999, 0.99)
    assert report.count == 3


def test_weights_rounded_to_half_precision_are_accepted(
    runtime: PytorchFp16Runtime,
    grid: ArchitectureEntry,
    grid_checkpoint: Path,
    grid_golden: GoldenSet,
    tmp_path: Path,
) -> None:
    def rounded(state_dict: StateDict) -> None:
        state_dict |= {
            name: values.half().float() if values.is_floating_point() else values for name, values in state_dict.items()
        }

    report = measure(runtime, damaged(grid_checkpoint, tmp_path, rounded), grid, grid_golden)
    report.require(0.999, MIN_REPEATABILITY)
    assert report.minimum < 1 - 1e-7


def scaled(name: str, factor: float) -> Callable[[StateDict], None]:
    def damage(state_dict: StateDict) -> None:
        state_dict[name] = state_dict[name] * factor

    return damage


def swap_colours(state_dict: StateDict) -> None:
    state_dict["_conv_stem.weight"] = state_dict["_conv_stem.weight"].flip(1)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(scaled("_blocks.1._project_conv.weight", 0.9), id="weights of a layer 10% too small"),
        pytest.param(scaled("_blocks.8._expand_conv.weight", 1.5), id="weights of a layer 50% too large"),
        pytest.param(swap_colours, id="red and blue swapped"),
    ],
)
def test_damaged_global_network_is_refused(
    runtime: PytorchFp16Runtime,
    grid: ArchitectureEntry,
    grid_checkpoint: Path,
    grid_golden: GoldenSet,
    tmp_path: Path,
    damage: Callable[[StateDict], None],
) -> None:
    require_refused(measure(runtime, damaged(grid_checkpoint, tmp_path, damage), grid, grid_golden))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(scaled("block2.0.layer.0.weight", 0.9), id="weights of a layer 10% too small"),
        pytest.param(scaled("block5.0.layer.0.weight", 1.5), id="weights of a layer 50% too large"),
    ],
)
def test_damaged_local_network_is_refused(
    runtime: PytorchFp16Runtime,
    xfeat: ArchitectureEntry,
    xfeat_checkpoint: Path,
    xfeat_golden: GoldenSet,
    tmp_path: Path,
    damage: Callable[[StateDict], None],
) -> None:
    require_refused(measure(runtime, damaged(xfeat_checkpoint, tmp_path, damage), xfeat, xfeat_golden))


class _NormalizedToOne(EfficientNetLite0Grid):
    """An engine that was built for pixels in 0..1, fed with pixels in -1..1."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return super().forward((image * 128.0 + 127.0) / 255.0)


def test_network_with_wrong_normalisation_is_refused(
    grid: ArchitectureEntry, grid_checkpoint: Path, grid_golden: GoldenSet
) -> None:
    registry = ArchitectureRegistry()
    registry.register(grid.name, _NormalizedToOne, spec=grid.spec, converter=grid.converter)
    with PytorchFp16Runtime(device="cpu", architecture_registry=registry) as runtime:
        require_refused(measure(runtime, grid_checkpoint, grid, grid_golden))


def test_other_normalisation_than_at_the_build_is_refused(
    runtime: PytorchFp16Runtime, grid: ArchitectureEntry, grid_checkpoint: Path, grid_golden: GoldenSet
) -> None:
    spec = replace(grid.spec, preprocess=replace(grid.spec.preprocess, std=(127.0, 127.0, 127.0)))
    handle = load(runtime, grid_checkpoint, grid.name)
    with pytest.raises(EngineFidelityError, match="preprocess"):
        measure_fidelity(runtime, handle, spec, grid_golden)


def test_other_resize_mode_is_the_choice_of_the_settings(
    runtime: PytorchFp16Runtime, grid: ArchitectureEntry, grid_checkpoint: Path, grid_golden: GoldenSet
) -> None:
    spec = replace(grid.spec, preprocess=replace(grid.spec.preprocess, resize_mode=ResizeMode.LETTERBOX))
    handle = load(runtime, grid_checkpoint, grid.name)
    measure_fidelity(runtime, handle, spec, grid_golden).require(0.9999, MIN_REPEATABILITY)


def test_golden_set_of_another_model_is_refused(
    runtime: PytorchFp16Runtime, grid: ArchitectureEntry, grid_checkpoint: Path, xfeat_golden: GoldenSet
) -> None:
    handle = load(runtime, grid_checkpoint, grid.name)
    with pytest.raises(EngineFidelityError, match="'xfeat'"):
        measure_fidelity(runtime, handle, grid.spec, xfeat_golden)


class _Altered:
    """The real runtime, with outputs altered on their way."""

    def __init__(
        self, runtime: PytorchFp16Runtime, alter: Callable[[int, dict[str, NDArray[np.float32]]], None]
    ) -> None:
        self._runtime, self._alter, self._count = runtime, alter, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def infer(self, handle: EngineHandle, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        outputs = self._runtime.infer(handle, inputs)
        self._alter(self._count, outputs)
        self._count += 1
        return outputs


def test_single_nan_is_refused(
    runtime: PytorchFp16Runtime, grid: ArchitectureEntry, grid_checkpoint: Path, grid_golden: GoldenSet
) -> None:
    def alter(index: int, outputs: dict[str, NDArray[np.float32]]) -> None:
        if index == 2:
            outputs["descriptor"][0, 5] = np.nan

    altered: Any = _Altered(runtime, alter)
    report = measure_fidelity(altered, load(runtime, grid_checkpoint, grid.name), grid.spec, grid_golden)
    assert math.isnan(report.minimum) and "image 2" in report.complaint
    with pytest.raises(EngineFidelityError, match="NaN"):
        report.require(-1.0, 0.0)


@pytest.mark.parametrize(("shift_px", "is_accepted"), [(2.0, True), (8.0, False)])
def test_moved_keypoints_are_found_again_within_three_pixels_only(
    runtime: PytorchFp16Runtime,
    xfeat: ArchitectureEntry,
    xfeat_checkpoint: Path,
    xfeat_golden: GoldenSet,
    shift_px: float,
    is_accepted: bool,
) -> None:
    def alter(_index: int, outputs: dict[str, NDArray[np.float32]]) -> None:
        outputs["keypoints"] += np.array([shift_px, 0.0], np.float32)

    altered: Any = _Altered(runtime, alter)
    report = measure_fidelity(altered, load(runtime, xfeat_checkpoint, xfeat.name), xfeat.spec, xfeat_golden)
    assert (report.repeatability >= MIN_REPEATABILITY) == is_accepted


def test_network_that_finds_no_keypoint_is_refused(
    runtime: PytorchFp16Runtime, xfeat: ArchitectureEntry, xfeat_checkpoint: Path, xfeat_golden: GoldenSet
) -> None:
    def alter(_index: int, outputs: dict[str, NDArray[np.float32]]) -> None:
        outputs["scores"][:] = 0.0

    altered: Any = _Altered(runtime, alter)
    require_refused(measure_fidelity(altered, load(runtime, xfeat_checkpoint, xfeat.name), xfeat.spec, xfeat_golden))


def test_too_few_keypoints_found_again_are_refused_whatever_the_cosine() -> None:
    report = FidelityReport("cosine of matched descriptors", 1.0, 1.0, 0.5, 8)
    with pytest.raises(EngineFidelityError, match=r"0\.500 of the reference's keypoints"):
        report.require(MIN_COSINE, MIN_REPEATABILITY)
    report.require(MIN_COSINE, 0.5)


# The same, as a vehicle meets it: a store whose gate accepts the engine, and the settings' thresholds.


def stored(folder: Path, checkpoint: Path, grid: ArchitectureEntry, golden: GoldenSet) -> Settings:
    store = EngineStore(folder / "store")
    name = EngineFileName(
        grid.name, RuntimeLabel.PYTORCH_FP16, (), "any", "torch", PrecisionMode.FP32, "0" * 12, checkpoint.suffix
    )
    details = ManifestEntry(
        "", "", 0, grid.name, name.runtime, name.precision, golden.weights_sha256, golden.preprocess_sha256
    )
    store.add(checkpoint, name=name, details=details, artefacts={".golden.npz": golden_bytes(golden)})
    engine = EngineSettings(precision=PrecisionMode.FP32, device="cpu")
    return Settings(engines=(engine,), engine_store=store.root)


def test_sound_engine_of_a_store_is_activated_with_what_was_measured(
    grid: ArchitectureEntry, grid_checkpoint: Path, grid_golden: GoldenSet, tmp_path: Path
) -> None:
    with assemble_pipeline(stored(tmp_path, grid_checkpoint, grid, grid_golden), host=HostTuple()) as pipeline:
        report = pipeline.model.fidelity
    assert pipeline.model.is_gated and report is not None
    assert report.count == grid_golden.count and 0.9999 < report.minimum <= report.mean <= 1 + 1e-9


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(scaled("_blocks.1._project_conv.weight", 0.9), id="weights of a layer 10% too small"),
        pytest.param(swap_colours, id="red and blue swapped"),
        pytest.param(None, id="pixels in 0..1 instead of -1..1"),
    ],
)
def test_damaged_engine_of_a_store_passes_the_gate_and_is_not_activated(
    grid: ArchitectureEntry,
    grid_checkpoint: Path,
    grid_golden: GoldenSet,
    tmp_path: Path,
    damage: Callable[[StateDict], None] | None,
) -> None:
    registry = ArchitectureRegistry()
    network = _NormalizedToOne if damage is None else grid.factory
    registry.register(grid.name, network, spec=grid.spec, converter=grid.converter)
    checkpoint = grid_checkpoint if damage is None else damaged(grid_checkpoint, tmp_path, damage)
    settings = stored(tmp_path, checkpoint, grid, grid_golden)
    with pytest.raises(EngineFidelityError, match=r"descriptor cosine is 0\.\d+ at least .* 0\.99 is required"):
        assemble_pipeline(settings, registry=registry, host=HostTuple())
