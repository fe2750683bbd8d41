"""`matcher_node` as a process: real features through LighterGlue and MAGSAC, its books and its refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from node_bench import DEEP, NodeBench, default_in_file, node_bench, parameters_of_file
from node_harness import image_message, wait_for
from node_parameters import REAL_ENGINE

import gps_denied_inference.msg as messages
from gps_denied_inference.core.architectures import default_registry
from gps_denied_inference.core.assembly import assemble_pipeline
from gps_denied_inference.core.contracts import PrecisionMode, RuntimeLabel
from gps_denied_inference.core.engines import EngineStore, probe_host
from gps_denied_inference.core.engines.build import BuildRequest, build_engine
from gps_denied_inference.core.flight import load_orthophoto, locate_orthophoto
from gps_denied_inference.core.interface import (
    features_message,
    geometry_from_message,
    image_frame_from_message,
    matches_from_message,
    stamp_ns_from_message,
)
from gps_denied_inference.core.matching import GeometryKind
from gps_denied_inference.core.settings import settings_from_mapping
from gps_denied_inference.ros.matcher_parameters import MATCHER_ENGINE_FIELDS, MATCHER_FIELDS
from gps_denied_inference.ros.message_factory import RclpyMessageFactory

_ROOT = Path(__file__).resolve().parents[2]
_NODE = "/matcher_node"
_TASK, _ENGINE_TASK = f"{_NODE}: matching", f"{_NODE}: engine"
_EVERY_MESSAGE = ("input_reliability:=reliable", "input_depth:=100", "output_depth:=1000", "diagnostics_rate_hz:=10.0")
_SHIFT_PX = (40, 24)
"""The second view lies this far right and below of the first."""


@pytest.fixture(scope="module")
def views() -> tuple[Any, Any]:
    """Features of two real views of the ground, as the inference node sends them."""
    ground = load_orthophoto(locate_orthophoto()).image_rgb
    sent = []
    settings = settings_from_mapping(
        {
            "allow_cpu_fallback": True,
            "allow_ungated": True,
            "primary.model": "xfeat",
            "primary.device": "cpu",
            "primary.precision": "fp32",
            "primary.top_k": 512,
        }
    )
    with assemble_pipeline(settings) as pipeline:
        for stamp, (right, down) in enumerate(((0, 0), _SHIFT_PX), 1):
            image = np.ascontiguousarray(ground[600 + down : 1080 + down, 600 + right : 1240 + right])
            result = pipeline.process(image_frame_from_message(image_message(image, "rgb8", stamp)))
            sent.append(
                features_message(
                    RclpyMessageFactory(), result, camera_id="", dropped_since_last={}, is_throttling=False
                )
            )
    return sent[0], sent[1]


@pytest.fixture(scope="module")
def bench(domain_id: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeBench]:
    """One node for all tests, active with mutual nearest neighbours but in the one that says otherwise."""
    with node_bench(domain_id, tmp_path_factory.mktemp("node")) as bench:
        node = bench.start("matcher_node", "matcher:=mutual_nearest", *_EVERY_MESSAGE, *REAL_ENGINE)
        bench.client.bring_up(_NODE)
        yield bench
        assert node.end() == 0
        assert "Traceback" not in node.log


class Feeds:
    """Publishers of both inputs and what comes of them."""

    def __init__(self, bench: NodeBench) -> None:
        client = bench.client
        self.first = client.image_publisher("/local_features", messages.LocalFeatures, node_qos=DEEP)
        self.second = client.image_publisher("/reference_features", messages.LocalFeatures, node_qos=DEEP)
        self.matches = client.collect(messages.FeatureMatches, "/feature_matches", DEEP)


@pytest.fixture(scope="module")
def feeds(bench: NodeBench) -> Feeds:
    return Feeds(bench)


def _reconfigure(bench: NodeBench, feeds: Feeds, **values: Any) -> None:
    """Set parameters and begin to count anew; the reference is forgotten."""
    for transition in ("deactivate", "cleanup"):
        assert bench.client.change_state(transition, _NODE)
    wait_for(lambda: not feeds.first.get_subscription_count(), "the end of the old subscription")
    for name, value in values.items():
        assert bench.client.set_parameter(name.replace("__", "."), value, _NODE) == (True, "")
    bench.client.bring_up(_NODE)
    wait_for(feeds.first.get_subscription_count, "the new subscription")
    wait_for(feeds.second.get_subscription_count, "the new subscription")
    bench.client.await_seen_by(_NODE)
    bench.settled(_TASK, 0)


def _answer(feeds: Feeds, reference: Any, features: Any, stamp_ns: int) -> Any:
    """Send the reference and keep asking until the node has it; two topics have no common order."""
    feeds.second.publish(reference)
    features.header.stamp.nanosec = stamp_ns

    def is_answered() -> Any:
        if not (feeds.matches and stamp_ns_from_message(feeds.matches[-1]) == stamp_ns):
            feeds.first.publish(features)
            return None
        return feeds.matches[-1]

    return wait_for(is_answered, "matches")


def _assert_shift(message: Any, views: tuple[Any, Any]) -> None:
    first, second = views
    matches, geometry = matches_from_message(message), geometry_from_message(message)
    assert (message.first_count, message.second_count) == (first.count, second.count)
    assert message.space_id == first.space_id
    assert stamp_ns_from_message(message) % 10**9 >= 10 and message.second_header == second.header
    assert message.inlier_count == geometry.inlier_count > 100
    assert geometry.matrix is not None and geometry.covariance is not None
    corners = np.array([[0.0, 0.0, 1.0], [639.0, 479.0, 1.0]]) @ geometry.matrix.T
    np.testing.assert_allclose(
        corners[:, :2] / corners[:, 2:], np.array([[0.0, 0.0], [639.0, 479.0]]) - _SHIFT_PX, atol=1.5
    )
    assert (np.diag(geometry.covariance) > 0).all() and geometry.coverage > 0.5 and geometry.median_residual_px < 1.0
    points = [np.array(side.keypoints_px).reshape(-1, 2)[matches.indices[:, row]] for row, side in enumerate(views)]
    off_px = np.linalg.norm(points[1] - points[0] + _SHIFT_PX, axis=1)
    assert off_px[geometry.is_inlier].max() < 5.0
    assert 0 < message.timings.infer_ms <= message.timings.total_ms


def test_mutual_nearest_neighbors_find_the_shift_between_real_views(
    bench: NodeBench, feeds: Feeds, views: tuple[Any, Any]
) -> None:
    message = _answer(feeds, views[1], views[0], 10)
    assert (message.matcher, message.runtime) == ("mutual_nearest", "")
    _assert_shift(message, views)
    assert bench.client.set_parameter("min_similarity", 0.95, _NODE) == (True, "")
    stricter = _answer(feeds, views[1], views[0], 11)
    assert 0 < stricter.count < message.count and min(stricter.scores) >= 0.95
    assert bench.client.set_parameter("max_ratio", 0.5, _NODE) == (True, "")
    assert _answer(feeds, views[1], views[0], 12).count < stricter.count
    for name, value in (("min_similarity", 0.0), ("max_ratio", 1.0), ("inlier_threshold_px", 0.1)):
        assert bench.client.set_parameter(name, value, _NODE) == (True, "")
    assert _answer(feeds, views[1], views[0], 13).inlier_count < message.inlier_count
    assert bench.client.set_parameter("inlier_threshold_px", 3.0, _NODE) == (True, "")


def test_features_that_cannot_be_compared_are_dropped_and_reported(
    bench: NodeBench, feeds: Feeds, views: tuple[Any, Any]
) -> None:
    _reconfigure(bench, feeds)
    before = len(feeds.matches)
    seen = len(bench.statuses(_TASK))

    def is_told(word: str) -> bool:
        return any(
            status.level == DiagnosticStatus.ERROR and word in status.message for status in bench.statuses(_TASK)[seen:]
        )

    feeds.first.publish(views[0])
    assert bench.settled(_TASK, 1)["dropped_failed"] == 1
    assert is_told("reference_features")
    other = messages.LocalFeatures(
        header=views[1].header, space_id="other/64/1/2", dimension=64, count=0, is_valid=True
    )
    feeds.second.publish(other)
    sent = 1
    while not is_told("cannot be compared"):  # until the reference has come
        sent += 1
        assert sent < 100
        feeds.first.publish(views[0])
        bench.settled(_TASK, sent)
    counts = bench.settled(_TASK, sent)
    assert (counts["dropped_failed"], counts["published"]) == (sent, 0)
    assert len(feeds.matches) == before


def test_network_of_the_family_finds_the_shift_too(bench: NodeBench, feeds: Feeds, views: tuple[Any, Any]) -> None:
    _reconfigure(bench, feeds, matcher="network", primary__precision="fp32", primary__device="cpu")
    message = _answer(feeds, views[1], views[0], 30)
    assert (message.matcher, message.runtime, message.effective_precision) == (
        "lighterglue_xfeat",
        "pytorch_fp16",
        "fp32",
    )
    assert len(message.matcher_weights_sha256) == 64
    _assert_shift(message, views)
    bench.wait_for_status(_ENGINE_TASK, DiagnosticStatus.WARN, "not")


def test_prepared_network_is_told_with_its_fidelity(bench: NodeBench, feeds: Feeds, views: tuple[Any, Any]) -> None:
    store = EngineStore(bench.folder / "store")
    request = BuildRequest("lighterglue_xfeat", RuntimeLabel.PYTORCH_FP16, PrecisionMode.FP32)
    build_engine(request, store, registry=default_registry(), host=probe_host())
    on_cpu = {"primary__precision": "fp32", "primary__device": "cpu"}
    _reconfigure(bench, feeds, matcher="network", engine_store=str(store.root), allow_ungated=False, **on_cpu)
    status = bench.next_status(_ENGINE_TASK)
    fidelity = next(item.value for item in status.values if item.key == "fidelity")
    assert fidelity and status.level == DiagnosticStatus.OK
    assert f"fidelity against FP32: {fidelity}" in (bench.folder / "node_0.log").read_text()
    _assert_shift(_answer(feeds, views[1], views[0], 35), views)
    _reconfigure(bench, feeds, matcher="mutual_nearest", engine_store="", allow_ungated=True)


def test_few_inliers_of_nearest_neighbors_bring_in_the_network(
    bench: NodeBench, feeds: Feeds, views: tuple[Any, Any]
) -> None:
    _reconfigure(bench, feeds, matcher="mutual_nearest", max_ratio=0.01, refine_below_inliers=100)
    message = _answer(feeds, views[1], views[0], 40)
    assert message.matcher == "lighterglue_xfeat" and message.inlier_count > 100
    assert bench.client.set_parameter("max_ratio", 1.0, _NODE) == (True, "")
    assert _answer(feeds, views[1], views[0], 41).matcher == "mutual_nearest", "enough inliers: the network rests"


def test_essential_matrix_takes_the_place_of_the_homography(
    bench: NodeBench, feeds: Feeds, views: tuple[Any, Any]
) -> None:
    camera = {"camera_focal_px": 554.0, "camera_center_x_px": 319.5, "camera_center_y_px": 239.5}
    _reconfigure(bench, feeds, refine_below_inliers=0, geometry="essential_matrix", **camera)
    message = _answer(feeds, views[1], views[0], 50)
    geometry = geometry_from_message(message)
    assert (message.geometry, message.has_homography, message.has_essential_matrix) == ("essential_matrix", False, True)
    assert geometry.kind is GeometryKind.ESSENTIAL_MATRIX and geometry.inlier_count == message.inlier_count > 100
    assert geometry.translation_direction is not None
    np.testing.assert_allclose(np.linalg.norm(geometry.translation_direction), 1.0, atol=1e-6)
    _reconfigure(bench, feeds, geometry="homography", camera_focal_px=0.0)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("primary.model", "xfeat", "a network that matches"),
        ("primary.model", "no_such_network", "no_such_network"),
        ("allow_ungated", False, "gdi engine build"),
        ("refine_below_inliers", 20, "0 where the network matches already"),
        ("geometry", "essential_matrix", "camera_focal_px"),
    ],
)
def test_wrong_engine_is_refused_at_configure(
    bench: NodeBench, feeds: Feeds, name: str, value: Any, sentence: str
) -> None:
    client = bench.client
    for transition in ("deactivate", "cleanup"):
        assert client.change_state(transition, _NODE)
    assert client.set_parameter("matcher", "network", _NODE) == (True, "")
    assert client.set_parameter(name, value, _NODE) == (True, "")
    assert not client.change_state("configure", _NODE)
    bench.wait_for_status(_ENGINE_TASK, DiagnosticStatus.ERROR, sentence)
    right = {"primary.model": "lighterglue_xfeat", "allow_ungated": True, "geometry": "homography"}.get(name, 0)
    assert client.set_parameter(name, right, _NODE) == (True, "")
    assert client.set_parameter("matcher", "mutual_nearest", _NODE) == (True, "")
    client.bring_up(_NODE)


def test_every_parameter_is_described_and_stands_in_the_shipped_file(bench: NodeBench) -> None:
    fields = {item.name: item for item in MATCHER_FIELDS} | {
        f"primary.{item.name}": item for item in MATCHER_ENGINE_FIELDS
    }
    descriptors = bench.client.describe_parameters(list(fields), _NODE)
    for item, described in zip(fields.values(), descriptors, strict=True):
        assert described.description == item.description and described.additional_constraints == item.allowed
    values, text = parameters_of_file(_ROOT / "config" / "matcher.yaml")
    assert values == {name: default_in_file(item) for name, item in fields.items()}
    for item in fields.values():
        assert " ".join(f"{item.description} Allowed: {item.allowed}.".split()) in text
