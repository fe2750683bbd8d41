from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gps_denied_inference.core.architectures import default_registry
from gps_denied_inference.core.contracts import BuildConfig, EngineHandle, OutputKind
from gps_denied_inference.core.errors import (
    EngineBuildError,
    EngineDeserializeError,
    InferenceError,
    OutOfMemoryError,
)
from gps_denied_inference.core.runtime import InferenceRuntime
from gps_denied_inference.core.runtime.fake import FakeRuntime
from gps_denied_inference.core.runtime.fake_script import parse_script

MODEL = "efficientnet_lite0_grid"


class Sleeper:
    def __init__(self) -> None:
        self.slept_ms: list[float] = []

    def __call__(self, duration_s: float) -> None:
        self.slept_ms.append(round(duration_s * 1e3, 6))


def load(script: str, folder: Path, model_name: str = MODEL) -> tuple[FakeRuntime, EngineHandle, Sleeper]:
    path = folder / "script.yaml"
    path.write_text(script)
    sleeper = Sleeper()
    runtime = FakeRuntime(sleep=sleeper)
    entry = runtime.compile_engine(path, BuildConfig(extras={"model_name": model_name}))
    return runtime, runtime.deserialize_engine(entry), sleeper


def frame(handle: EngineHandle, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    spec = handle.input_specs[0]
    return {spec.name: np.random.default_rng(seed).random(spec.shape, dtype=np.float32)}


_OF_ONE_IMAGE = [
    name for name in default_registry() if default_registry().lookup(name).spec.output_kind.is_of_one_image
]


def test_class_conforms_to_the_protocol_statically() -> None:
    runtime: InferenceRuntime = FakeRuntime()
    assert isinstance(runtime, InferenceRuntime)


@pytest.mark.parametrize("model_name", _OF_ONE_IMAGE)
def test_outputs_have_the_shapes_of_the_architecture(model_name: str, tmp_path: Path) -> None:
    runtime, handle, _ = load("", tmp_path, model_name)
    spec = default_registry().lookup(model_name).spec
    outputs = runtime.infer(handle, frame(handle))
    assert tuple(outputs) == spec.output_names
    if spec.output_kind is OutputKind.GLOBAL_DESCRIPTOR:
        assert outputs["descriptor"].shape == (1, spec.descriptor_dimension)
        np.testing.assert_allclose(np.linalg.norm(outputs["descriptor"]), 1.0, rtol=1e-5)
        return
    rows = spec.max_keypoints
    assert outputs["keypoints"].shape == (1, rows, 2)
    assert outputs["scores"].shape == (1, rows)
    assert outputs["descriptors"].shape == (1, rows, spec.descriptor_dimension)
    height, width = spec.inputs[0].shape[2:]
    is_keypoint = outputs["scores"][0] > 0
    assert is_keypoint.any()
    assert (np.diff(outputs["scores"][0]) <= 0).all()
    assert (outputs["keypoints"] >= 0).all()
    assert (outputs["keypoints"][0] < [width, height]).all()
    np.testing.assert_allclose(np.linalg.norm(outputs["descriptors"][0][is_keypoint], axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("model_name", _OF_ONE_IMAGE)
def test_blank_image_gives_finite_outputs(model_name: str, tmp_path: Path) -> None:
    runtime, handle, _ = load("", tmp_path, model_name)
    spec = handle.input_specs[0]
    outputs = runtime.infer(handle, {spec.name: np.zeros(spec.shape, np.float32)})
    assert all(np.isfinite(values).all() for values in outputs.values())


def test_features_match_their_permuted_selves_and_no_padding(tmp_path: Path) -> None:
    runtime, handle, _ = load("", tmp_path, "lighterglue_xfeat")
    spec = default_registry().lookup("lighterglue_xfeat").spec
    generator = np.random.default_rng(0)
    order = generator.permutation(50)
    descriptors = generator.normal(size=(50, spec.descriptor_dimension)).astype(np.float32)
    inputs = {item.name: np.zeros(item.shape, np.float32) for item in spec.inputs}
    for side, rows in enumerate((descriptors, descriptors[order])):
        inputs[f"scores{side}"][0, :50] = 1.0
        inputs[f"descriptors{side}"][0, :50] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    outputs = runtime.infer(handle, inputs)
    assert tuple(outputs) == spec.output_names
    matches, scores = outputs["matches"][0], outputs["scores"][0]
    assert (order[matches[:50].astype(int)] == np.arange(50)).all() and (scores[:50] > 0.99).all()
    assert (matches[50:] == -1).all() and not scores[50:].any()


def test_similar_images_have_similar_descriptors(tmp_path: Path) -> None:
    runtime, handle, _ = load("", tmp_path)
    image, other = frame(handle, 0)["image"], frame(handle, 1)["image"]
    blotch = np.repeat(np.repeat(np.random.default_rng(5).random((1, 3, 14, 14), np.float32), 16, 2), 16, 3)
    first, near, far = (
        runtime.infer(handle, {"image": values})["descriptor"][0]
        for values in (blotch, blotch + 0.01 * image, 1.0 - blotch + 0.01 * other)
    )
    assert first @ near > 0.99
    assert first @ near > first @ far + 0.05


def test_latencies_are_gone_through_again_and_again(tmp_path: Path) -> None:
    runtime, handle, sleeper = load("{latency_ms: [5, 7], load_latency_ms: 100}", tmp_path)
    for _ in range(3):
        runtime.infer(handle, frame(handle))
    assert sleeper.slept_ms == [100, 5, 7, 5]


def test_jitter_is_bounded_and_repeats_with_its_seed(tmp_path: Path) -> None:
    slept = []
    for _ in range(2):
        runtime, handle, sleeper = load("{latency_ms: 5, jitter_ms: 2, seed: 3}", tmp_path)
        for _ in range(20):
            runtime.infer(handle, frame(handle))
        slept.append(sleeper.slept_ms)
    assert slept[0] == slept[1]
    assert len(set(slept[0])) > 10
    assert all(5 <= duration <= 7 for duration in slept[0])


def test_single_fault_strikes_once_and_repeating_fault_again(tmp_path: Path) -> None:
    script = "faults: [{frame: 0, kind: inference_error}, {every: 3, kind: out_of_memory}]"
    runtime, handle, _ = load(script, tmp_path)
    seen: list[str] = []
    causes: list[BaseException | None] = []
    for _ in range(7):
        try:
            runtime.infer(handle, frame(handle))
            seen.append("ok")
        except (InferenceError, OutOfMemoryError) as error:
            seen.append(type(error).__name__)
            causes.append(error.__cause__)
    assert None not in causes
    assert seen == ["InferenceError", "ok", "OutOfMemoryError", "ok", "ok", "OutOfMemoryError", "ok"]


def test_nan_hang_and_wrong_shape_faults(tmp_path: Path) -> None:
    script = """
latency_ms: 1
faults:
  - {frame: 0, kind: nan}
  - {frame: 1, kind: hang, hang_ms: 500}
  - {frame: 2, kind: wrong_shape}
"""
    runtime, handle, sleeper = load(script, tmp_path)
    assert np.isnan(runtime.infer(handle, frame(handle))["descriptor"]).any()
    assert np.isfinite(runtime.infer(handle, frame(handle))["descriptor"]).all()
    assert sleeper.slept_ms == [1, 501]
    assert runtime.infer(handle, frame(handle))["descriptor"].shape == (1, 447)


@pytest.mark.parametrize(
    ("fault", "error_type"),
    [("out_of_memory", OutOfMemoryError), ("deserialize_error", EngineDeserializeError)],
)
def test_load_faults(fault: str, error_type: type[Exception], tmp_path: Path) -> None:
    with pytest.raises(error_type, match="scripted"):
        load(f"load_fault: {fault}", tmp_path)


def test_model_name_comes_from_extras_then_script_then_stem(tmp_path: Path) -> None:
    path = tmp_path / "stem.yaml"
    runtime = FakeRuntime()
    path.write_text("latency_ms: 0")
    assert runtime.compile_engine(path, BuildConfig()).extras["model_name"] == "stem"
    path.write_text("model_name: xfeat")
    assert runtime.compile_engine(path, BuildConfig()).extras["model_name"] == "xfeat"
    named = runtime.compile_engine(path, BuildConfig(extras={"model_name": MODEL}))
    assert named.extras["model_name"] == MODEL


@pytest.mark.parametrize(
    ("script", "field"),
    [
        ("latency_ms: fast", "latency_ms"),
        ("latency_ms: -1", "latency_ms"),
        ("latency_ms: .nan", "latency_ms"),
        ("latency_ms: .inf", "latency_ms"),
        ("latency_ms: true", "latency_ms"),
        ("latency_ms: []", "latency_ms"),
        ("latency_ms: [1, x]", r"latency_ms\[1\]"),
        ("jitter_ms: -2", "jitter_ms"),
        ("seed: 1.5", "seed"),
        ("latency: 5", "latency"),
        ("- 1", "script"),
        ("load_fault: fire", "load_fault"),
        ("model_name: 5", "model_name"),
        ("faults: nan", "faults"),
        ("faults: [nan]", r"faults\[0\]"),
        ("faults: [{kind: nan}]", r"faults\[0\]"),
        ("faults: [{frame: 1, every: 2, kind: nan}]", r"faults\[0\]"),
        ("faults: [{frame: -1, kind: nan}]", r"faults\[0\].frame"),
        ("faults: [{every: 0, kind: nan}]", r"faults\[0\].every"),
        ("faults: [{frame: 1, kind: fire}]", r"faults\[0\].kind"),
        ("faults: [{frame: 1, kind: hang}]", r"faults\[0\].hang_ms"),
        ("faults: [{frame: 1, kind: nan, hang_ms: 3}]", r"faults\[0\].hang_ms"),
    ],
)
def test_malformed_field_is_named_with_what_is_allowed(script: str, field: str) -> None:
    with pytest.raises(EngineBuildError, match=f"field '{field}'.*allowed"):
        parse_script(script.encode(), "script.yaml")


@pytest.mark.parametrize("content", [b"a: [", b"\xff\xfe\x00", b"a: !!python/object/apply:os.getcwd []"])
def test_text_that_is_no_yaml_is_a_build_error(content: bytes) -> None:
    with pytest.raises(EngineBuildError):
        parse_script(content, "script.yaml")


def test_empty_script_plays_without_latency_or_faults() -> None:
    script = parse_script(b"", "script.yaml")
    assert script.latency_ms == (0.0,)
    assert script.fault_at(0) is None


def test_configuration_says_that_nothing_real_runs(tmp_path: Path) -> None:
    _, handle, _ = load("", tmp_path)
    configuration: Any = handle.configuration
    assert configuration.provider == "script"
    assert configuration.fallback_reason
