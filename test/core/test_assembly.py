"""Settings to pipeline, with the fake runtime."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gps_denied_inference.core.assembly import assemble_pipeline
from gps_denied_inference.core.contracts import (
    GlobalDescriptor,
    ImageFrame,
    LocalFeatures,
    ResizeMode,
    RuntimeLabel,
    ThermalState,
)
from gps_denied_inference.core.errors import (
    EngineManifestError,
    InferenceError,
    SettingsError,
    UnknownArchitectureError,
)
from gps_denied_inference.core.settings import EngineSettings, Settings

_FRAME = ImageFrame(7, "camera", "rgb8", 48, 64, 192, False, np.random.default_rng(0).integers(0, 255, 9216, np.uint8))


@pytest.fixture
def engine(tmp_path: Path) -> EngineSettings:
    script = tmp_path / "script.yaml"
    script.write_text("latency_ms: 0.0\n")
    return EngineSettings(runtime=RuntimeLabel.FAKE, checkpoint=script)


def _settings(engine: EngineSettings) -> Settings:
    return Settings(engines=(engine,), allow_ungated=True)


def test_frame_becomes_features_with_its_header_and_timings(engine: EngineSettings) -> None:
    with assemble_pipeline(_settings(engine)) as pipeline:
        result = pipeline.process(_FRAME)
    assert (result.stamp_ns, result.frame_id) == (7, "camera")
    assert isinstance(result.features, GlobalDescriptor)
    assert result.features.dimension == 448
    stages = result.timings.as_dict()
    assert result.timings.total_ms == pytest.approx(sum(v for k, v in stages.items() if k != "total_ms"))


def test_ungated_engine_is_refused_unless_allowed(engine: EngineSettings) -> None:
    with pytest.raises(EngineManifestError, match="allow_ungated"):
        assemble_pipeline(Settings(engines=(engine,)))
    with assemble_pipeline(_settings(engine)) as pipeline:
        assert not pipeline.model.is_gated


def test_resize_mode_changes_the_space_and_nothing_else(engine: EngineSettings) -> None:
    identities = []
    for mode in (None, ResizeMode.LETTERBOX):
        with assemble_pipeline(_settings(replace(engine, resize_mode=mode))) as pipeline:
            identities.append(pipeline.model)
    assert identities[0].space_id != identities[1].space_id
    assert identities[0].weights_sha256 == identities[1].weights_sha256


def test_top_k_limits_the_keypoints(engine: EngineSettings) -> None:
    with assemble_pipeline(_settings(replace(engine, model="xfeat", top_k=3))) as pipeline:
        features = pipeline.process(_FRAME).features
    assert isinstance(features, LocalFeatures)
    assert features.count == 3


def test_unknown_model_and_missing_script_are_named(engine: EngineSettings) -> None:
    with pytest.raises(UnknownArchitectureError, match="xfeat"):
        assemble_pipeline(_settings(replace(engine, model="xfaet")))
    with pytest.raises(SettingsError, match="checkpoint"):
        assemble_pipeline(_settings(replace(engine, checkpoint=None)))


def test_closed_pipeline_refuses_frames_and_closes_twice(engine: EngineSettings) -> None:
    pipeline = assemble_pipeline(_settings(engine))
    pipeline.close()
    pipeline.close()
    with pytest.raises(InferenceError, match="closed"):
        pipeline.process(_FRAME)


def test_thermal_state_comes_from_the_injected_publisher(engine: EngineSettings) -> None:
    hot = ThermalState(90.0, 95.0, True, 300.0, 1, True, "power cap", "nvml")

    class Publisher:
        def snapshot(self) -> ThermalState:
            return hot

    with assemble_pipeline(_settings(engine), thermal_publisher=Publisher()) as pipeline:
        assert pipeline.thermal_state() == hot


def test_image_libraries_are_loaded_before_the_first_frame(engine: EngineSettings) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from gps_denied_inference.core.assembly import assemble_pipeline\n"
        "from gps_denied_inference.core.contracts import RuntimeLabel\n"
        "from gps_denied_inference.core.settings import EngineSettings, Settings\n"
        "engine = EngineSettings(runtime=RuntimeLabel.FAKE, checkpoint=Path(sys.argv[1]))\n"
        "assemble_pipeline(Settings(engines=(engine,), allow_ungated=True))\n"
        "assert 'cv2' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, str(engine.checkpoint)], check=True, timeout=120)
