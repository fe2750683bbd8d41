"""`place_recognition_node` as a process: its life, its books, its refusals, and real descriptors over DDS."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from node_bench import DEEP, NodeBench, default_in_file, node_bench, parameters_of_file
from node_harness import Client, NodeLauncher, image_message, wait_for
from node_parameters import REAL_ENGINE

import gps_denied_inference.msg as messages
import gps_denied_inference.srv as services
from gps_denied_inference.cli.main import main
from gps_denied_inference.core.assembly import assemble_pipeline
from gps_denied_inference.core.flight import load_orthophoto, locate_orthophoto
from gps_denied_inference.core.index import (
    TileIndex,
    TileIndexDetails,
    load_tile_index,
    save_tile_index,
    tile_frame_id,
)
from gps_denied_inference.core.interface import (
    features_message,
    image_frame_from_message,
    place_recognition_from_message,
    stamp_ns_from_message,
)
from gps_denied_inference.core.settings import settings_from_mapping
from gps_denied_inference.ros.message_factory import RclpyMessageFactory
from gps_denied_inference.ros.place_recognition_node import PLACE_RECOGNITION_FIELDS
from gps_denied_inference.ros.qos import LATCHED

_ROOT = Path(__file__).resolve().parents[2]
_NODE = "/place_recognition_node"
_TASK, _INDEX_TASK = f"{_NODE}: recognition", f"{_NODE}: index"
_SPACE = "net/64/0123456789ab/01234567"
_TILES, _DIMENSION = 40_000, 256
_EVERY_MESSAGE = ("input_reliability:=reliable", "input_depth:=100", "output_depth:=1000", "diagnostics_rate_hz:=10.0")


def _descriptor(values: Any, stamp_ns: int, space_id: str = _SPACE) -> Any:
    factory = RclpyMessageFactory()
    return messages.GlobalDescriptor(
        header=factory.header(stamp_ns, "camera_optical"),
        camera_id="nadir",
        space_id=space_id,
        dimension=len(values),
        values=factory.floats(np.asarray(values, np.float32)),
        is_valid=True,
    )


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> tuple[TileIndex, Path]:
    """Large enough that a search takes milliseconds. Two tiles at each place."""
    generator = np.random.default_rng(0)
    positions = np.repeat(generator.uniform(0, 10_000, (_TILES // 2, 2)), 2, axis=0)
    index = TileIndex(
        _SPACE,
        generator.standard_normal((_TILES, _DIMENSION), np.float32),
        positions,
        np.tile([0.0, 180.0], _TILES // 2),
        TileIndexDetails(crs="EPSG:32612", side_m=1.0),
    )
    path = tmp_path_factory.mktemp("map") / "map.index"
    save_tile_index(index, path)
    return index, path


@pytest.fixture(scope="module")
def bench(
    domain_id: int, tmp_path_factory: pytest.TempPathFactory, index: tuple[TileIndex, Path]
) -> Iterator[NodeBench]:
    """One active node for all tests that leave it active."""
    with node_bench(domain_id, tmp_path_factory.mktemp("node")) as bench:
        node = bench.start("place_recognition_node", f"index:={index[1]}", *_EVERY_MESSAGE)
        bench.client.bring_up(_NODE)
        yield bench
        assert node.end() == 0
        assert "Traceback" not in node.log


@pytest.fixture(scope="module")
def publisher(bench: NodeBench) -> Any:
    return bench.client.image_publisher("/global_descriptor", messages.GlobalDescriptor, node_qos=DEEP)


@pytest.fixture(scope="module")
def candidates(bench: NodeBench) -> list[Any]:
    return bench.client.collect(messages.PlaceCandidates, "/place_candidates", DEEP)


def _restart(bench: NodeBench) -> None:
    """Begin to count anew."""
    for transition in ("deactivate", "cleanup", "configure", "activate"):
        assert bench.client.change_state(transition, _NODE)
    wait_for(lambda: bench.client.node.count_subscribers("/global_descriptor"), "the subscription")
    bench.client.await_seen_by(_NODE)


def test_candidates_are_those_of_the_exact_search(
    bench: NodeBench, publisher: Any, candidates: list[Any], index: tuple[TileIndex, Path]
) -> None:
    assert bench.client.set_parameter("top_k", 5, _NODE) == (True, "")
    values = index[0].descriptors[7] + 0.01
    publisher.publish(_descriptor(values, 1))
    message = wait_for(lambda: candidates[-1], "candidates")
    result = place_recognition_from_message(message)
    expected = index[0].search(values, _SPACE, 5)
    assert [candidate.tile for candidate in result.candidates] == [match.tile for match in expected]
    assert result.candidates[0].tile == 7
    assert (result.candidates[0].x_m, result.candidates[0].y_m) == tuple(index[0].positions_m[7])
    assert (result.stamp_ns, result.frame_id, result.camera_id) == (1, "camera_optical", "nadir")
    assert (result.space_id, result.crs) == (_SPACE, "EPSG:32612")
    assert len(result.index_sha256) == 64
    # The next candidate lies elsewhere: tiles of one place are not alike here.
    assert result.rank_margin == pytest.approx(expected[0].similarity - expected[1].similarity, abs=1e-6)
    assert 0 < result.timings.infer_ms <= result.timings.total_ms
    assert bench.client.set_parameter("top_k", 2, _NODE) == (True, "")
    publisher.publish(_descriptor(values, 2))
    wait_for(lambda: stamp_ns_from_message(candidates[-1]) == 2, "the next candidates")
    assert len(candidates[-1].candidates) == 2


def test_descriptor_of_another_space_is_dropped_and_reported(
    bench: NodeBench, publisher: Any, candidates: list[Any]
) -> None:
    _restart(bench)
    before = len(candidates)
    publisher.publish(_descriptor(np.ones(_DIMENSION), 3))
    bench.settled(_TASK, 1)
    seen = len(bench.statuses(_TASK))
    other = "other/64/0123456789ab/01234567"
    for received, (broken, sentence) in enumerate(
        (
            (_descriptor(np.ones(_DIMENSION), 4, other), "cannot be compared"),
            (_descriptor(np.ones(7), 5), "shape (7,)"),
            (_descriptor(np.full(_DIMENSION, np.nan), 6), "not finite"),
        ),
        2,
    ):
        publisher.publish(broken)
        counts = bench.settled(_TASK, received)
        assert (counts["published"], counts["dropped_failed"]) == (1, received - 1)
        assert any(
            status.level == DiagnosticStatus.ERROR and sentence in status.message
            for status in bench.statuses(_TASK)[seen:]
        )
    assert [stamp_ns_from_message(message) for message in candidates[before:]] == [3]


def test_in_a_flood_every_descriptor_is_answered_or_counted(
    bench: NodeBench, publisher: Any, candidates: list[Any]
) -> None:
    _restart(bench)
    before = len(candidates)
    generator = np.random.default_rng(1)
    seen = len(bench.statuses(_TASK))
    for received in (100, 200, 300):  # the subscription keeps 100
        for stamp in range(received, received + 100):
            publisher.publish(_descriptor(generator.standard_normal(_DIMENSION), stamp))
        counts = bench.settled(_TASK, received)
    assert counts["published"] + sum(value for name, value in counts.items() if name.startswith("dropped_")) == 300
    assert counts["dropped_overwritten"] > 0
    assert {name for name, value in counts.items() if name.startswith("dropped_") and value} == {"dropped_overwritten"}
    wait_for(lambda: len(candidates) - before == counts["published"], "every published message")
    stamps = [stamp_ns_from_message(message) for message in candidates[before:]]
    assert stamps == sorted(set(stamps)) and stamps[-1] == 399
    # What was dropped is told with the next answer: the newest is never dropped, so nothing is left untold.
    told = sum(drop.count for message in candidates[before:] for drop in message.dropped_since_last)
    assert told == counts["dropped_overwritten"]
    assert any("overload" in status.message for status in bench.statuses(_TASK)[seen:])


def test_space_that_the_inference_node_announces_is_compared_before_the_first_descriptor(bench: NodeBench) -> None:
    publisher = bench.client.node.create_publisher(messages.ModelInfo, "/model_info", LATCHED)
    publisher.publish(messages.ModelInfo(output_kind="global_descriptor", space_id="other/1/2/3"))
    status = bench.wait_for_status(_INDEX_TASK, DiagnosticStatus.ERROR, "other/1/2/3")
    assert _SPACE in status.message
    publisher.publish(messages.ModelInfo(output_kind="global_descriptor", space_id=_SPACE))
    bench.wait_for_status(_INDEX_TASK, DiagnosticStatus.OK, f"{_TILES} tiles")
    bench.client.node.destroy_publisher(publisher)


def test_dynamic_parameters_take_effect_and_static_ones_wait_for_cleanup(bench: NodeBench, publisher: Any) -> None:
    taken, reason = bench.client.set_parameter("index", "other", _NODE)
    assert not taken and "cleanup" in reason
    taken, reason = bench.client.set_parameter("top_k", 0, _NODE)
    assert not taken and "Max: 1000" in reason
    assert bench.client.set_parameter("input_timeout_s", 0.1, _NODE) == (True, "")
    bench.wait_for_status(_TASK, DiagnosticStatus.WARN, "no message")
    assert bench.client.set_parameter("input_timeout_s", 3600.0, _NODE) == (True, "")
    (info,) = bench.client.node.get_publishers_info_by_topic("/place_candidates")
    assert info.qos_profile.reliability.name == "RELIABLE"
    descriptors = bench.client.describe_parameters([item.name for item in PLACE_RECOGNITION_FIELDS], _NODE)
    for item, described in zip(PLACE_RECOGNITION_FIELDS, descriptors, strict=True):
        assert described.description == item.description and described.additional_constraints == item.allowed


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("index", "", "gdi index build"),
        ("index", "/nowhere.index", "cannot be read as a tile index"),
        ("expected_space_id", "other/64/0123456789ab/01234567", _SPACE),
        ("expected_dimension", 448, str(_DIMENSION)),
    ],
)
def test_wrong_index_is_refused_at_configure(
    bench: NodeBench, index: tuple[TileIndex, Path], name: str, value: Any, sentence: str
) -> None:
    client = bench.client
    for transition in ("deactivate", "cleanup"):
        assert client.change_state(transition, _NODE)
    default = next(item.default for item in PLACE_RECOGNITION_FIELDS if item.name == name)
    right = str(index[1]) if name == "index" else default
    assert client.set_parameter(name, value, _NODE) == (True, "")
    assert not client.change_state("configure", _NODE)
    assert client.state(_NODE) == "unconfigured"
    bench.wait_for_status(_INDEX_TASK, DiagnosticStatus.ERROR, sentence)
    assert client.set_parameter(name, right, _NODE) == (True, "")
    client.bring_up(_NODE)
    bench.wait_for_status(_INDEX_TASK, DiagnosticStatus.OK, "tiles")


def test_shipped_parameter_file_holds_every_parameter_with_its_default_and_range() -> None:
    values, text = parameters_of_file(_ROOT / "config" / "place_recognition.yaml")
    assert values == {item.name: default_in_file(item) for item in PLACE_RECOGNITION_FIELDS}
    for item in PLACE_RECOGNITION_FIELDS:
        assert " ".join(f"{item.description} Allowed: {item.allowed}.".split()) in text


def test_rerank_without_local_features_is_refused_with_a_sentence(bench: NodeBench) -> None:
    answer = bench.client.call(services.Rerank, f"{_NODE}/rerank", services.Rerank.Request(tiles=[1]))
    assert not answer.success and "--local-model" in answer.message


_SCALE_M, _HEIGHT_PX = 0.1, 2472
_SETTINGS = {
    "allow_cpu_fallback": True,
    "allow_ungated": True,
    "primary.device": "cpu",
    "primary.precision": "fp32",
}


@pytest.fixture(scope="module")
def _one_thread() -> Iterator[None]:
    """Two threads of a network wait for each other longer than they compute, where others have the processors."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory, _one_thread: None) -> Path:
    """A real orthophoto, its index and the local features of its tiles, beside each other."""
    path = tmp_path_factory.mktemp("ground") / "map.png"
    path.symlink_to(locate_orthophoto())
    half, north_m = _SCALE_M / 2, _SCALE_M * _HEIGHT_PX
    path.with_suffix(".pgw").write_text(f"{_SCALE_M}\n0\n0\n-{_SCALE_M}\n{half}\n{north_m - half}\n")
    arguments = ("--side", "60", "--stride", "50", "--headings", "1", "--device", "cpu", "--precision", "fp32")
    local = ("--local-model", "xfeat", "--local-pixels", "320")
    assert main(["index", "build", str(path), "--out", str(path.with_name("map.index")), *arguments, *local]) == 0
    return path


def test_image_goes_to_candidates_to_rank_and_to_matches_with_its_tile(
    client: Client, launcher: NodeLauncher, ground: Path
) -> None:
    index_path = ground.with_name("map.index")
    local_path = ground.with_name("map.index.local")
    index = load_tile_index(index_path)
    launcher.start(*REAL_ENGINE, namespace="/uav")
    launcher.start(
        f"index:={index_path}", f"tile_features:={local_path}", executable="place_recognition_node", namespace="/uav"
    )
    launcher.start(
        "matcher:=mutual_nearest", f"tile_features:={local_path}", executable="matcher_node", namespace="/uav"
    )
    for node in ("place_recognition_node", "matcher_node", "inference_node"):
        client.bring_up(f"/uav/{node}")
    found = client.collect(messages.PlaceCandidates, "/uav/place_candidates")
    matches = client.collect(messages.FeatureMatches, "/uav/feature_matches")
    images = client.image_publisher("/uav/image")
    features = client.image_publisher("/uav/local_features", messages.LocalFeatures, node_qos=DEEP)
    wait_for(lambda: client.node.count_subscribers("/uav/place_candidates") == 2, "the matcher's subscription")

    row = 6
    place = index.positions_m[row] + (5.0, -3.0)
    column_px, row_px = round(place[0] / _SCALE_M), round(_HEIGHT_PX - place[1] / _SCALE_M)
    orthophoto = load_orthophoto(locate_orthophoto()).image_rgb
    view = np.ascontiguousarray(orthophoto[row_px - 300 : row_px + 300, column_px - 300 : column_px + 300])
    image = image_message((view * 0.7).astype(np.uint8), "rgb8", 5)

    def is_answered() -> bool:
        images.publish(image)
        time.sleep(0.2)
        return bool(found)

    wait_for(is_answered, "candidates")
    candidates = found[-1]
    tiles = [candidate.tile for candidate in candidates.candidates]
    assert tiles[0] == row and candidates.rank_margin > 0

    with assemble_pipeline(settings_from_mapping({**_SETTINGS, "primary.model": "xfeat"})) as pipeline:
        result = pipeline.process(image_frame_from_message(image))
    local = features_message(RclpyMessageFactory(), result, camera_id="", dropped_since_last={}, is_throttling=False)
    request = services.Rerank.Request(features=local, tiles=tiles, index_sha256=candidates.index_sha256)
    answer = client.call(services.Rerank, "/uav/place_recognition_node/rerank", request)
    assert answer.success and len(answer.tiles) == 3, answer.message
    assert answer.tiles[0].tile == row
    assert answer.tiles[0].inlier_count > 2 * answer.tiles[1].inlier_count
    np.testing.assert_allclose((answer.tiles[0].x_m, answer.tiles[0].y_m), place, atol=1.0)
    request.index_sha256 = "ab" * 32
    assert not client.call(services.Rerank, "/uav/place_recognition_node/rerank", request).success

    def is_matched() -> bool:
        features.publish(local)
        return bool(matches)

    wait_for(is_matched, "matches with the tile")
    assert matches[-1].second_header.frame_id == tile_frame_id(candidates.index_sha256, row)
    assert matches[-1].inlier_count == answer.tiles[0].inlier_count
