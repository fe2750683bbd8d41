"""Engines of networks that take two images or their features: built, gated and compared with their reference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gps_denied_inference.core.architectures import default_registry, locate_weights
from gps_denied_inference.core.contracts import PrecisionMode, RuntimeLabel
from gps_denied_inference.core.engines import EngineGate, EngineStore, measure_fidelity, probe_host, read_golden
from gps_denied_inference.core.engines.build import BuildRequest, build_engine
from gps_denied_inference.core.engines.golden_pairs import compare_pairs, pair_inputs
from gps_denied_inference.core.errors import EngineBuildError, EngineFidelityError
from gps_denied_inference.core.runtime import BuildFlags, RuntimeOptions, create_runtime

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("kornia", reason="kornia is not installed")

MODEL = "lighterglue_xfeat"
SPEC = default_registry().lookup(MODEL).spec


def found(pairs: dict[int, int], score: float = 0.9) -> dict[str, NDArray[np.float32]]:
    outputs = {
        "matches": np.full((1, SPEC.max_keypoints), -1.0, np.float32),
        "scores": np.zeros((1, SPEC.max_keypoints), np.float32),
    }
    for row, partner in pairs.items():
        outputs["matches"][0, row], outputs["scores"][0, row] = partner, score
    return outputs


def test_lost_and_strange_matches_lower_both_figures() -> None:
    reference = found({0: 5, 1: 6, 2: 7, 3: 8})
    assert compare_pairs(reference, reference, SPEC) == pytest.approx((1.0, 1.0))
    assert compare_pairs(reference, found({0: 5, 1: 6, 2: 7, 3: 9}), SPEC) == pytest.approx((0.75, 0.75))
    assert compare_pairs(reference, found({}), SPEC) == (0.0, 0.0)
    assert compare_pairs(found({}), found({}), SPEC) == (1.0, 1.0)
    assert compare_pairs(found({}), reference, SPEC) == (0.0, 0.0)


def test_two_gray_images_are_made_of_each_crop() -> None:
    pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
    spec = default_registry().lookup("efficient_loftr").spec
    crops = np.random.default_rng(0).integers(0, 255, (3, 60, 80, 3), np.uint8)
    pairs = pair_inputs(spec, crops)
    assert len(pairs) == 2
    for inputs in pairs:
        assert {name: values.shape for name, values in inputs.items()} == {
            item.name: item.shape for item in spec.inputs
        }
        assert not np.array_equal(inputs["image0"], inputs["image1"])


def test_matcher_is_built_gated_and_faithful(tmp_path: Path) -> None:
    label = RuntimeLabel.ONNX_TRT_EP
    try:
        locate_weights(SPEC, MODEL, None)
    except EngineBuildError as error:
        pytest.skip(str(error))
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    store, host = EngineStore(tmp_path), probe_host()
    request = BuildRequest(MODEL, label, PrecisionMode.FP32)
    entry = build_engine(request, store, registry=default_registry(), host=host)
    verdict = EngineGate(store, host).validate(store.path_of(entry))
    golden_of = store.golden_of(entry)
    assert golden_of is not None
    golden = read_golden(*golden_of)
    assert golden.count == len(golden.inputs) == 1 and not golden.images_hwc.size
    options = RuntimeOptions(device="cpu", onnx_providers=("cpu",))
    runtime = create_runtime(label, enabled=frozenset(RuntimeLabel), build_flags=BuildFlags.load(), options=options)
    handle = runtime.deserialize_engine(verdict.require())
    try:
        report = measure_fidelity(runtime, handle, SPEC, golden)
        outputs = runtime.infer(handle, golden.inputs[0])
    finally:
        runtime.release_engine(handle)
    report.require(min_cosine=0.999, min_repeatability=0.99)
    assert report.metric == "cosine of matching scores" and report.count == 1
    assert np.count_nonzero(outputs["matches"] >= 0) > 500, "the made-up features do match"
    with pytest.raises(EngineFidelityError, match="matches are found again"):
        replace(report, repeatability=0.5).require(min_cosine=0.9, min_repeatability=0.9)
