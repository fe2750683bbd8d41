"""Our two networks with their published weights, against golden outputs (see test/golden/README.md)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gps_denied_inference.core.architectures import ArchitectureEntry, default_registry, locate_weights
from gps_denied_inference.core.contracts import BuildConfig, EngineCacheEntry, OutputKind, PrecisionMode
from gps_denied_inference.core.errors import EngineBuildError, EngineDeserializeError
from gps_denied_inference.core.runtime.pytorch_fp16 import PytorchFp16Runtime

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
from test.golden.agreement import compare_descriptor, compare_keypoints  # noqa: E402 - needs cv2
from test.golden.inputs import golden_inputs  # noqa: E402 - needs cv2

OURS = ("efficientnet_lite0_grid", "xfeat")


def published(name: str) -> tuple[ArchitectureEntry, Path]:
    if name == "xfeat":
        pytest.importorskip("kornia", reason="kornia is not installed")
    entry = default_registry().lookup(name)
    try:
        return entry, locate_weights(entry.spec, name, None)
    except EngineBuildError as error:
        pytest.skip(str(error))


def compiled(runtime: PytorchFp16Runtime, name: str, path: Path) -> EngineCacheEntry:
    return runtime.compile_engine(path, BuildConfig(precision=PrecisionMode.FP32, extras={"model_name": name}))


@pytest.fixture
def runtime() -> PytorchFp16Runtime:
    return PytorchFp16Runtime(device="cpu")


@pytest.mark.parametrize("key", ["crop", "noise"])
def test_efficientnet_agrees_with_its_golden_descriptor(runtime: PytorchFp16Runtime, key: str) -> None:
    entry, path = published("efficientnet_lite0_grid")
    handle = runtime.deserialize_engine(compiled(runtime, entry.name, path))
    descriptor = runtime.infer(handle, {"image": golden_inputs(entry.spec)[key]})["descriptor"]
    assert descriptor.shape == (1, 448)
    np.testing.assert_allclose(np.linalg.norm(descriptor), 1.0, rtol=1e-5)
    assert compare_descriptor(descriptor[0], key).max_error < 1e-5


@pytest.mark.parametrize("key", ["crop", "noise"])
def test_xfeat_finds_what_kornias_own_detection_finds(runtime: PytorchFp16Runtime, key: str) -> None:
    entry, path = published("xfeat")
    handle = runtime.deserialize_engine(compiled(runtime, entry.name, path))
    outputs = runtime.infer(handle, {"image": golden_inputs(entry.spec)[key]})
    agreement = compare_keypoints(outputs, key)
    # Rounding in another order (channels last, another machine) may turn a tie; everything else is equal.
    assert agreement.repeated >= 0.995
    assert agreement.min_cosine > 0.9999
    assert agreement.max_score_error < 1e-4
    assert (np.diff(outputs["scores"][0]) <= 0).all()


def test_xfeat_fills_what_it_does_not_find_with_zero_rows(runtime: PytorchFp16Runtime) -> None:
    entry, path = published("xfeat")
    handle = runtime.deserialize_engine(compiled(runtime, entry.name, path))
    image = np.zeros(handle.input_specs[0].shape, np.float32)
    image[:, :, 200:260, 300:360] = 1.0
    outputs = runtime.infer(handle, {"image": image})
    padding = outputs["scores"][0] <= 0
    assert 0 < np.count_nonzero(~padding) < 200
    assert (outputs["scores"][0][padding] == 0).all()
    assert (outputs["keypoints"][0][padding] == 0).all()
    assert (outputs["descriptors"][0][padding] == 0).all()


def test_xfeat_keypoint_lies_on_the_pixel_that_caused_it(runtime: PytorchFp16Runtime) -> None:
    entry, path = published("xfeat")
    handle = runtime.deserialize_engine(compiled(runtime, entry.name, path))
    image = np.full(handle.input_specs[0].shape, 0.2, np.float32)
    for top in range(60, 420, 60):
        for left in range(60, 580, 60):
            image[:, :, top : top + 24, left : left + 24] = 0.9
    outputs = runtime.infer(handle, {"image": image})
    found = outputs["keypoints"][0][outputs["scores"][0] > 0]
    corners = np.array(
        [
            (left + dx, top + dy)
            for top in range(60, 420, 60)
            for left in range(60, 580, 60)
            for dx in (-0.5, 23.5)  # the edge lies between the last pixel outside and the first inside
            for dy in (-0.5, 23.5)
        ]
    )
    nearest = np.array([corner - found[np.linalg.norm(found - corner, axis=1).argmin()] for corner in corners])
    nearest = nearest[np.linalg.norm(nearest, axis=1) < 5]
    assert len(nearest) > len(corners) / 2
    assert (np.abs(np.median(nearest, axis=0)) <= 1.0).all(), "a shift by half a cell or more would show"


@pytest.mark.parametrize("name", OURS)
def test_strict_loading_names_what_is_missing_and_unexpected(
    runtime: PytorchFp16Runtime, name: str, tmp_path: Path
) -> None:
    _, path = published(name)
    state = dict(torch.load(path, weights_only=True))
    lost = "_blocks.3._bn1.running_var" if name == "efficientnet_lite0_grid" else "block4.0.layer.0.weight"
    state["stranger.weight"] = state.pop(lost)
    changed = tmp_path / "changed.pt"
    torch.save(state, changed)
    with pytest.raises(EngineDeserializeError, match=rf"Missing keys: \S*{lost}.*Unexpected keys: \S*stranger.weight"):
        runtime.deserialize_engine(compiled(runtime, name, changed))


def test_converter_of_efficientnet_drops_the_declared_parts_alone() -> None:
    entry, path = published("efficientnet_lite0_grid")
    state = torch.load(path, weights_only=True)
    dropped = set(state) - set(entry.convert(state))
    prefixes = {key.split(".")[0] if not key.startswith("_blocks") else ".".join(key.split(".")[:2]) for key in dropped}
    assert prefixes == {"_conv_head", "_bn1", "_fc", *(f"_blocks.{index}" for index in range(11, 16))}


@pytest.mark.parametrize("name", OURS)
def test_description_fits_itself(name: str) -> None:
    spec = default_registry().lookup(name).spec
    batch, channels, height, width = spec.inputs[0].shape
    assert (batch, channels) == (1, spec.preprocess.color.channels)
    assert (height, width) == (spec.preprocess.height, spec.preprocess.width)
    assert len(spec.preprocess.mean) == len(spec.preprocess.std) == channels
    assert (spec.max_keypoints > 0) is (spec.output_kind is OutputKind.LOCAL_FEATURES)
    assert spec.license == "Apache-2.0"
    assert spec.paper
    assert spec.weights is not None
    assert spec.weights.distribution in spec.weights.install
