"""The ladder's engines: loaded once each, within the budget, in one space, and given back."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gps_denied_inference.core.assembly import assemble_pipeline
from gps_denied_inference.core.contracts import ImageFrame, LocalFeatures, PrecisionMode, RuntimeLabel
from gps_denied_inference.core.errors import EngineBuildError, InferenceError, OutOfMemoryError, SettingsError
from gps_denied_inference.core.governor import Ladder, LoadedLadder, Rung
from gps_denied_inference.core.pipeline import Pipeline
from gps_denied_inference.core.settings import EngineSettings, Settings

_FULL = Rung("full")


class Loader:
    """Loads the fake runtime and remembers what it was asked for."""

    def __init__(self, folder: Path, model: str = "xfeat") -> None:
        self.folder = folder
        self.engine = EngineSettings(
            runtime=RuntimeLabel.FAKE, model=model, device="cpu", checkpoint=self.script("full", "seed: 0")
        )
        self.loaded: list[Pipeline] = []
        self.asked: list[EngineSettings] = []

    def script(self, name: str, text: str) -> Path:
        path = self.folder / f"{name}.yaml"
        path.write_text(text + "\n")
        return path

    def __call__(self, engine: EngineSettings) -> Pipeline:
        self.asked.append(engine)
        pipeline = assemble_pipeline(Settings(engines=(engine,), allow_ungated=True))
        self.loaded.append(pipeline)
        return pipeline


@pytest.fixture
def loader(tmp_path: Path) -> Loader:
    return Loader(tmp_path)


def _frame() -> ImageFrame:
    pixels = np.random.default_rng(0).integers(0, 255, 480 * 640 * 3, np.uint8)
    return ImageFrame(1, "camera", "rgb8", 480, 640, 640 * 3, False, pixels)


def _is_closed(pipeline: Pipeline) -> bool:
    try:
        pipeline.process(_frame())
    except InferenceError as error:
        return "closed" in str(error)
    return False


def test_rungs_that_change_only_the_amount_share_one_engine(loader: Loader) -> None:
    top = loader(loader.engine)
    ladder = Ladder((_FULL, Rung("fewer", top_k=50), Rung("slower", max_rate_hz=2.0), Rung("same", device="cpu")))
    loaded = LoadedLadder(ladder, loader.engine, top, loader)
    assert loaded.engines == (top,) and len(loader.asked) == 1
    counts = []
    for index in range(4):
        features = loaded.processor_of(index).process(_frame()).features
        assert isinstance(features, LocalFeatures)
        counts.append(features.count)
    assert counts[1] == 50 and counts[0] == counts[2] == counts[3] > 50


def test_rung_cannot_ask_for_more_keypoints_than_the_parameters_allow(loader: Loader) -> None:
    engine = replace(loader.engine, top_k=30)
    loaded = LoadedLadder(Ladder((_FULL, Rung("more", top_k=50))), engine, loader(engine), loader)
    features = loaded.processor_of(1).process(_frame()).features
    assert isinstance(features, LocalFeatures) and features.count == 30


def test_equal_engines_of_two_rungs_are_loaded_once(loader: Loader) -> None:
    other = loader.script("light", "seed: 1")
    rungs = (_FULL, Rung("light", checkpoint=other), Rung("light and slow", checkpoint=other, max_rate_hz=2.0))
    top = loader(loader.engine)
    loaded = LoadedLadder(Ladder(rungs), loader.engine, top, loader, allow_other_space=True)
    assert len(loaded.engines) == 2
    assert loaded.pipeline_of(1) is loaded.pipeline_of(2) is not loaded.pipeline_of(0)
    assert loaded.processor_of(2).process(_frame()).model.weights_sha256 != top.model.weights_sha256
    light = loaded.pipeline_of(1)
    loaded.close()
    loaded.close()
    assert _is_closed(light) and not _is_closed(top)


def test_rung_of_another_space_is_refused_and_closed_unless_allowed(loader: Loader) -> None:
    ladder = Ladder((_FULL, Rung("light", checkpoint=loader.script("light", "seed: 1"))))
    top = loader(loader.engine)
    with pytest.raises(SettingsError, match="degradation_allow_other_space") as caught:
        LoadedLadder(ladder, loader.engine, top, loader)
    assert caught.value.field == "rungs[1] ('light')"
    assert _is_closed(loader.loaded[-1]) and not _is_closed(top)


def test_rung_of_another_kind_of_output_is_refused_even_when_spaces_may_differ(loader: Loader) -> None:
    ladder = Ladder((_FULL, Rung("global", model="efficientnet_lite0_grid", checkpoint=loader.script("g", "seed: 1"))))
    with pytest.raises(SettingsError, match="local_features"):
        LoadedLadder(ladder, loader.engine, loader(loader.engine), loader, allow_other_space=True)
    assert _is_closed(loader.loaded[-1])


@pytest.mark.parametrize(
    ("script", "error"), [("load_fault: out_of_memory", OutOfMemoryError), (None, EngineBuildError)]
)
def test_engine_that_cannot_be_loaded_closes_those_that_were(
    loader: Loader, script: str | None, error: type[Exception]
) -> None:
    bad = loader.folder / "missing.yaml" if script is None else loader.script("bad", script)
    rungs = (_FULL, Rung("light", checkpoint=loader.script("light", "seed: 1")), Rung("bad", checkpoint=bad))
    with pytest.raises(error):
        LoadedLadder(Ladder(rungs), loader.engine, loader(loader.engine), loader, allow_other_space=True)
    assert _is_closed(loader.loaded[1]) and not _is_closed(loader.loaded[0])


def test_new_normal_engine_goes_to_every_rung_that_shared_the_old_one(loader: Loader) -> None:
    ladder = Ladder((_FULL, Rung("fewer", top_k=50)))
    loaded = LoadedLadder(ladder, loader.engine, loader(loader.engine), loader)
    new = loader(replace(loader.engine, checkpoint=loader.script("new", "seed: 5")))
    loaded.replace_top(new)
    assert loaded.pipeline_of(0) is loaded.pipeline_of(1) is new
    assert loaded.processor_of(1).process(_frame()).model is new.model


def test_new_normal_engine_of_another_space_than_a_rung_is_refused(loader: Loader) -> None:
    top, other = loader(loader.engine), loader.script("other", "seed: 0")
    # The same bytes elsewhere: an engine of its own in the same space.
    ladder = Ladder((_FULL, Rung("elsewhere", checkpoint=other)))
    loaded = LoadedLadder(ladder, loader.engine, top, loader)
    assert len(loaded.engines) == 2
    new = loader(replace(loader.engine, checkpoint=loader.script("new", "seed: 5")))
    with pytest.raises(SettingsError, match="elsewhere"):
        loaded.replace_top(new)
    assert loaded.pipeline_of(0) is top


def test_each_thread_warms_each_engine_once(loader: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    warmed: list[Pipeline] = []
    monkeypatch.setattr(Pipeline, "warm_up_thread", lambda pipeline: warmed.append(pipeline))
    light = Rung("light", checkpoint=loader.script("light", "seed: 1"))
    ladder = Ladder((_FULL, Rung("fewer", top_k=5), light))
    loaded = LoadedLadder(ladder, loader.engine, loader(loader.engine), loader, allow_other_space=True)
    for index in (0, 1, 2, 0):
        loaded.processor_of(index).warm_up_thread()
    assert warmed == list(loaded.engines)
    new = loader(replace(loader.engine, checkpoint=loader.script("new", "seed: 5")))
    loaded.replace_top(new)
    loaded.processor_of(1).warm_up_thread()
    assert warmed[2:] == [new]
    thread = threading.Thread(target=loaded.processor_of(2).warm_up_thread)
    thread.start()
    thread.join()
    assert warmed[3:] == list(loaded.engines)


def test_smaller_images_run_the_real_network_at_that_size_in_a_space_of_its_own() -> None:
    engine = EngineSettings(model="xfeat", device="cpu", precision=PrecisionMode.FP32)
    settings = Settings(engines=(engine,), allow_ungated=True)

    def load(changed: EngineSettings) -> Pipeline:
        return assemble_pipeline(replace(settings, engines=(changed,)))

    ladder = Ladder((_FULL, Rung("smaller", input_height=96, input_width=128)))
    with load(engine) as top:
        with pytest.raises(SettingsError, match="degradation_allow_other_space"):
            LoadedLadder(ladder, engine, top, load)
        loaded = LoadedLadder(ladder, engine, top, load, allow_other_space=True)
        full, small = (loaded.processor_of(rung).process(_frame()) for rung in (0, 1))
        loaded.close()
    assert isinstance(full.features, LocalFeatures) and isinstance(small.features, LocalFeatures)
    # Keypoints stay in pixels of the original image.
    assert 300 < small.features.keypoints_px[:, 0].max() <= 639.5 and small.features.image_width == 640
    assert small.features.count <= full.features.count
    assert small.model.space_id != full.model.space_id
    assert small.timings.infer_ms > 0
