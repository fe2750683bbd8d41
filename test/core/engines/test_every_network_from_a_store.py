"""Every registered network on every runtime of a CPU: built into a store, gated, loaded as nodes load it, and asked.

With published weights where a package brings them, else with seeded ones of the published layout (see test/golden).
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gps_denied_inference.core.architectures import default_registry
from gps_denied_inference.core.assembly import assemble_matcher, assemble_pipeline
from gps_denied_inference.core.contracts import (
    ArchitectureSpec,
    Correspondences,
    Features,
    GlobalDescriptor,
    ImageFrame,
    LocalFeatures,
    Matches,
    OutputKind,
    PrecisionMode,
    RuntimeLabel,
)
from gps_denied_inference.core.engines import (
    EngineGate,
    EngineStore,
    FidelityReport,
    HostTuple,
    ManifestEntry,
    read_golden,
)
from gps_denied_inference.core.engines.build import BuildRequest, build_engine
from gps_denied_inference.core.errors import EngineBuildError
from gps_denied_inference.core.pipeline import ModelIdentity
from gps_denied_inference.core.settings import Settings, settings_from_mapping

for package in ("torch", "transformers", "kornia", "cv2", "onnx", "onnxscript", "onnxruntime", "safetensors"):
    pytest.importorskip(package, reason=f"{package} is not installed")
from test.golden.exports import checkpoint_of  # noqa: E402 - needs safetensors

HOST = HostTuple(machine="x86_64")
PRECISIONS = {RuntimeLabel.PYTORCH_FP16: PrecisionMode.FP16, RuntimeLabel.ONNX_TRT_EP: PrecisionMode.FP32}
"""What `gdi engine build` asks for by itself where there is no GPU; the CPU computes in FP32 either way."""
QUICK = (("xfeat", RuntimeLabel.ONNX_TRT_EP),)
"""Of the ordinary run, which has efficientnet_lite0_grid and lighterglue_xfeat in other tests already."""
CASES = [
    pytest.param(
        name,
        runtime,
        marks=() if (name, runtime) in QUICK else (pytest.mark.long, pytest.mark.timeout(900)),
        id=f"{name}-{runtime.value}",
    )
    for name in default_registry()
    for runtime in PRECISIONS
]
MOVED_PX = (24, 16)
"""Columns and rows that the second of two images is moved by: whole cells of Efficient LoFTR's coarse features."""
LEAST_MATCHING_COSINE = 0.9999
"""Of FP32 with FP32. With a tenth of noise on all weights of a LightGlue the made-up features still give 0.9995."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that is gone after the test, unlike `tmp_path`: all engines together take gigabytes."""
    with tempfile.TemporaryDirectory(prefix="gdi-every-network-") as name:
        yield Path(name)


def licenses_of(spec: ArchitectureSpec) -> tuple[str, ...]:
    return (spec.license,) if spec.license_restriction else ()


def settings_for(name: str, runtime: RuntimeLabel, spec: ArchitectureSpec, store: EngineStore) -> Settings:
    """FP16 is asked for, as by default, and the fallback to what the CPU can is allowed."""
    return settings_from_mapping(
        {
            "engine_store": str(store.root),
            "accepted_licenses": list(licenses_of(spec)),
            "allow_cpu_fallback": True,
            "primary.model": name,
            "primary.runtime": runtime.value,
            "primary.device": "cpu",
        }
    )


def require_loaded(model: ModelIdentity, built: ManifestEntry, settings: Settings) -> FidelityReport:
    """Require that it is the engine that was built, in FP32, past the gate and the comparison with its reference."""
    assert (model.engine_file, model.engine_sha256) == (built.file_name, built.sha256)
    assert model.is_gated and not model.gate_complaint and model.weights_sha256 == built.weights_sha256
    placed = model.configuration
    assert (placed.requested_precision, placed.effective_precision) == (PrecisionMode.FP16, PrecisionMode.FP32)
    assert placed.effective_device == "cpu" and "fp32" in placed.fallback_reason.lower(), placed
    fidelity = model.fidelity
    assert fidelity is not None and fidelity.count >= 1
    assert not fidelity.problem(settings.fidelity_min_cosine, settings.fidelity_min_repeatability)
    return fidelity


def require_nearer_than_others(
    fidelity: FidelityReport, spec: ArchitectureSpec, store: EngineStore, built: ManifestEntry
) -> None:
    """Require that the engine's descriptors are far nearer to their references than references are to one another.

    Seeded networks describe any two images almost alike: mean cosines of the golden crops are up to 0.9993, above the
    0.99 that settings ask for by default.
    """
    golden_of = store.golden_of(built)
    assert golden_of is not None
    outputs = read_golden(*golden_of).outputs
    if spec.output_kind is OutputKind.GLOBAL_DESCRIPTOR:
        rows = np.concatenate([image["descriptor"] for image in outputs]).astype(np.float64)
    else:
        rows = outputs[0]["descriptors"][0][outputs[0]["scores"][0] > 0].astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    likeness = float((rows @ rows.T)[~np.eye(len(rows), dtype=bool)].mean())
    assert 1.0 - fidelity.minimum < 0.01 * (1.0 - likeness), (fidelity, likeness)


def frame_of(image_hwc: NDArray[np.uint8]) -> ImageFrame:
    height, width, _ = image_hwc.shape
    return ImageFrame(7, "camera", "rgb8", height, width, 3 * width, False, image_hwc.reshape(-1))


def require_answers(first: Features, second: Features, spec: ArchitectureSpec) -> None:
    """Require finite features of the declared shapes, of two images not the same."""
    if spec.output_kind is OutputKind.GLOBAL_DESCRIPTOR:
        assert isinstance(first, GlobalDescriptor) and isinstance(second, GlobalDescriptor)
        for values in (first.values, second.values):
            assert values.shape == (spec.descriptor_dimension,) and values.dtype == np.float32
            assert np.linalg.norm(values) == pytest.approx(1.0, abs=1e-4)  # a NaN fails
        assert first.values @ second.values < 0.9999
        return
    assert isinstance(first, LocalFeatures) and isinstance(second, LocalFeatures)
    for features in (first, second):
        count = features.count
        assert 100 <= count <= spec.max_keypoints
        assert features.keypoints_px.shape == (count, 2) and features.scores.shape == (count,)
        assert features.descriptors.shape == (count, spec.descriptor_dimension)
        limit_px = (features.image_width - 0.5, features.image_height - 0.5)
        assert (features.keypoints_px >= -0.5).all() and (features.keypoints_px <= limit_px).all()
        assert np.isfinite(features.scores).all() and (np.diff(features.scores) <= 0).all()
        np.testing.assert_allclose(np.linalg.norm(features.descriptors, axis=1), 1.0, atol=1e-3)
    places, others = ({tuple(point) for point in np.rint(each.keypoints_px)} for each in (first, second))
    assert len(places & others) < 0.5 * len(places)


def made_up_features(spec: ArchitectureSpec) -> tuple[LocalFeatures, LocalFeatures]:
    """Make two sets of features: the second has those of the first, moved and in the opposite order."""
    generator = np.random.default_rng(11)
    count = spec.max_keypoints // 2
    points_px = generator.uniform((0, 0), (600, 440), (count, 2)).astype(np.float32)
    descriptors = generator.normal(size=(count, spec.descriptor_dimension)).astype(np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    scores = np.linspace(1.0, 0.1, count, dtype=np.float32)
    moved_px = (points_px + np.asarray(MOVED_PX, np.float32))[::-1]
    return (
        LocalFeatures(points_px, scores, descriptors, 480, 640),
        LocalFeatures(moved_px, scores, descriptors[::-1], 480, 640),
    )


def require_matches(matches: Matches, count: int) -> None:
    """Require the pairs of `made_up_features`."""
    assert matches.indices.shape == (matches.count, 2) and matches.scores.shape == (matches.count,)
    assert np.isfinite(matches.scores).all() and 0.9 * count < matches.count <= count
    assert (matches.indices.sum(axis=1) == count - 1).mean() > 0.9


def require_correspondences(pairs: Correspondences, spec: ArchitectureSpec) -> None:
    """Require points of an image and of the same, moved."""
    assert pairs.first_px.shape == pairs.second_px.shape == (pairs.count, 2) and pairs.scores.shape == (pairs.count,)
    assert all(np.isfinite(values).all() for values in (pairs.first_px, pairs.second_px, pairs.scores))
    assert 100 <= pairs.count <= spec.max_keypoints
    error_px = np.linalg.norm(pairs.second_px - pairs.first_px - MOVED_PX, axis=1)
    assert (error_px < 3.0).mean() > 0.9


@pytest.mark.parametrize(("name", "runtime"), CASES)
def test_network_is_built_gated_loaded_and_faithful_and_answers(
    name: str, runtime: RuntimeLabel, folder: Path, crops: NDArray[np.uint8]
) -> None:
    registry = default_registry()
    entry = registry.lookup(name)
    spec = entry.spec
    try:
        checkpoint_of(entry, folder)
    except EngineBuildError as error:
        pytest.skip(str(error))
    store = EngineStore(folder / "store")
    request = BuildRequest(name, runtime, PRECISIONS[runtime], accepted_licenses=licenses_of(spec))
    if runtime is not RuntimeLabel.PYTORCH_FP16 and spec.onnx_obstacle:
        sentence = f"'{name}' cannot be exported to ONNX: {spec.onnx_obstacle}; build it for pytorch_fp16"
        with pytest.raises(EngineBuildError, match=re.escape(sentence)):
            build_engine(request, store, registry=registry, host=HOST, weights_dir=folder)
        assert not store.root.exists()
        return
    built = build_engine(request, store, registry=registry, host=HOST, weights_dir=folder)
    EngineGate(store, HOST).validate(store.path_of(built)).require()
    assert store.strangers() == () and built.license == spec.license

    settings = settings_for(name, runtime, spec, store)
    # Upside down they are none of the golden images.
    image_hwc, other_hwc = (np.ascontiguousarray(crops[index, ::-1]) for index in (0, 4))
    if spec.output_kind.is_of_one_image:
        with assemble_pipeline(settings, host=HOST) as pipeline:
            fidelity = require_loaded(pipeline.model, built, settings)
            require_nearer_than_others(fidelity, spec, store, built)
            first, second = (pipeline.process(frame_of(image)).features for image in (image_hwc, other_hwc))
        require_answers(first, second, spec)
        return
    with assemble_matcher(settings, host=HOST) as matcher:
        fidelity = require_loaded(matcher.model, built, settings)
        if spec.output_kind is OutputKind.MATCHES:
            assert fidelity.minimum > LEAST_MATCHING_COSINE
            features, others = made_up_features(spec)
            require_matches(matcher.match_features(features, others), features.count)
        else:
            moved_hwc = np.roll(image_hwc, MOVED_PX[::-1], axis=(0, 1))
            require_correspondences(matcher.match_images(frame_of(image_hwc), frame_of(moved_hwc)), spec)
