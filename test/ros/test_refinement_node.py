"""`refinement_node` as a process: images against tiles of a real map, only where they need it; books and refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from node_bench import DEEP, NodeBench, default_in_file, node_bench, parameters_of_file
from node_harness import compressed_message, image_message, wait_for
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

import gps_denied_inference.msg as messages
from gps_denied_inference.core.flight import (
    CameraPose,
    NadirCamera,
    camera_of_tiles,
    load_orthophoto,
    locate_orthophoto,
)
from gps_denied_inference.core.index import image_center_m, tile_of_frame_id
from gps_denied_inference.core.interface import (
    geometry_from_message,
    matches_from_message,
    points_from_message,
    stamp_ns_from_message,
)
from gps_denied_inference.core.refinement import load_map_tiles
from gps_denied_inference.ros.message_factory import RclpyMessageFactory
from gps_denied_inference.ros.refinement_parameters import REFINEMENT_ENGINE_FIELDS, REFINEMENT_FIELDS

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
pytest.importorskip("rasterio", reason="rasterio is not installed")
pytest.importorskip("torch", reason="torch is not installed")

from image_matcher_stand_in import MODEL, write_checkpoint  # noqa: E402 - needs torch
from indexed_maps import IndexedMap, index_map, write_map  # noqa: E402 - needs rasterio

_ROOT = Path(__file__).resolve().parents[2]
_NODE = "/refinement_node"
_TASK, _ENGINE_TASK, _INPUT_TASK = (f"{_NODE}: {task}" for task in ("refinement", "engine", "input"))
_EVERY_MESSAGE = ("input_reliability:=reliable", "input_depth:=100", "output_depth:=1000", "diagnostics_rate_hz:=10.0")
_PIXELS = 240
_CAMERA, _HEIGHT_M = camera_of_tiles(_PIXELS, 4 / 3, 40.0)
_MODULES = {"PYTHONPATH": str(_ROOT / "test" / "support")}


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> IndexedMap:
    """80 by 70 m of a real orthophoto, in tiles of 53 by 40 m at four headings."""
    ground = load_orthophoto(locate_orthophoto()).image_rgb[300:1000, 200:1000]
    return index_map(write_map(tmp_path_factory.mktemp("map") / "map.tif", ground))


@pytest.fixture(scope="module")
def bench(domain_id: int, mapped: IndexedMap, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeBench]:
    """One node for all tests, active with a network that looks patches up."""
    folder = tmp_path_factory.mktemp("node")
    with node_bench(domain_id, folder) as bench:
        node = bench.start(
            "refinement_node",
            *_files(mapped),
            *_engine(folder),
            f"tile_pixels:={_PIXELS}",
            "max_frame_age_ms:=60000.0",
            "camera_id:=nadir",
            *_EVERY_MESSAGE,
            environment=_with_modules(),
        )
        bench.client.bring_up(_NODE)
        yield bench
        assert node.end() == 0
        assert "Traceback" not in node.log


def _files(mapped: IndexedMap) -> tuple[str, ...]:
    return f"index:={mapped.index_path}", f"maps:=['{mapped.map_path}']"


def _engine(folder: Path) -> tuple[str, ...]:
    return (
        "architecture_modules:=['image_matcher_stand_in']",
        f"primary.model:={MODEL}",
        f"primary.checkpoint:={write_checkpoint(folder)}",
        "primary.device:=cpu",
        "primary.precision:=fp32",
        "allow_ungated:=true",
    )


def _with_modules() -> dict[str, str]:
    import os

    return {"PYTHONPATH": f"{_MODULES['PYTHONPATH']}:{os.environ.get('PYTHONPATH', '')}"}


class View:
    """An image of a place near a tile, and the truth.

    Args:
        tile: row of the index.
        east_m, north_m: of the camera from the tile's centre.
        turn_deg: of its top from the tile's heading, clockwise.
    """

    def __init__(
        self, mapped: IndexedMap, tile: int, east_m: float = 5.0, north_m: float = -3.0, turn_deg: float = 3.0
    ) -> None:
        self.tile = tile
        view = mapped.grid.views[tile]
        camera = NadirCamera(640, 480, 60.0)  # twice the pixels of a tile's picture
        pose = CameraPose(0, view.x_m + east_m, view.y_m + north_m, _HEIGHT_M, (view.heading_deg + turn_deg) % 360.0)
        self.image_rgb: NDArray[np.uint8] = camera.render(mapped.ground.orthophoto, pose)
        self.position_m = (mapped.ground.west_m + pose.x_m, mapped.ground.south_m + pose.y_m)
        picture = _CAMERA.image_from_ground(CameraPose(0, view.x_m, view.y_m, _HEIGHT_M, view.heading_deg))
        self.picture_from_image: NDArray[np.float64] = picture @ np.linalg.inv(camera.image_from_ground(pose))


class Feeds:
    """Publishers of images and candidates, and what comes of them."""

    def __init__(self, bench: NodeBench, mapped: IndexedMap) -> None:
        self._mapped = mapped
        self._factory = RclpyMessageFactory()
        self.image = bench.client.image_publisher("/image", node_qos=DEEP)
        self.places = bench.client.image_publisher("/place_candidates", messages.PlaceCandidates, node_qos=DEEP)
        self.matches = bench.client.collect(messages.FeatureMatches, "/refinement/feature_matches", DEEP)

    def send_image(self, view: View, stamp_ns: int) -> None:
        self.image.publish(image_message(view.image_rgb, "rgb8", stamp_ns, "camera_optical"))

    def send_places(self, stamp_ns: int, *tiles: int, index_sha256: str = "") -> None:
        self.places.publish(
            messages.PlaceCandidates(
                header=self._factory.header(stamp_ns, "camera_optical"),
                index_sha256=index_sha256 or self._mapped.index.sha256,
                candidates=[messages.PlaceCandidate(tile=tile) for tile in tiles],
            )
        )

    def answer(self, view: View, stamp_ns: int, *tiles: int) -> Any:
        """Return what comes of an image with these candidates; the view's own tile, without any."""
        self.send_places(stamp_ns, *(tiles or (view.tile,)))
        self.send_image(view, stamp_ns)
        return wait_for(
            lambda: stamp_ns_from_message(self.matches[-1]) == stamp_ns and self.matches[-1], f"matches of {stamp_ns}"
        )


@pytest.fixture(scope="module")
def feeds(bench: NodeBench, mapped: IndexedMap) -> Feeds:
    return Feeds(bench, mapped)


def _tile(mapped: IndexedMap, heading_deg: float, number: int = 0) -> int:
    return int(np.flatnonzero(mapped.index.headings_deg == heading_deg)[number])


def _reconfigure(bench: NodeBench, feeds: Feeds, **values: Any) -> None:
    """Set parameters and begin to count anew."""
    for transition in ("deactivate", "cleanup"):
        assert bench.client.change_state(transition, _NODE)
    wait_for(
        lambda: not feeds.image.get_subscription_count() and not feeds.places.get_subscription_count(),
        "the end of the old subscriptions",
    )
    for name, value in values.items():
        assert bench.client.set_parameter(name.replace("__", "."), value, _NODE) == (True, "")
    bench.client.bring_up(_NODE)
    if values.get("image_transport") != "compressed":
        wait_for(feeds.image.get_subscription_count, "the new subscription")
    wait_for(feeds.places.get_subscription_count, "the new subscription")
    bench.client.await_seen_by(_NODE)
    bench.settled(_TASK, 0)


def _assert_right(message: Any, view: View, mapped: IndexedMap) -> None:
    """The message's points, homography and position are those of the view."""
    assert message.header.frame_id == "camera_optical"
    assert tile_of_frame_id(message.second_header.frame_id) == (mapped.index.sha256, view.tile)
    assert (message.second_header.stamp.sec, message.second_header.stamp.nanosec) == (0, 0)
    assert (message.matcher, message.runtime, message.space_id) == (MODEL, "pytorch_fp16", "")
    assert (message.second_height, message.second_width) == (_PIXELS, _PIXELS * 4 // 3)
    points, geometry, matches = (
        points_from_message(message),
        geometry_from_message(message),
        matches_from_message(message),
    )
    assert points is not None and geometry.matrix is not None and geometry.covariance is not None
    assert message.inlier_count == geometry.inlier_count > 25 and geometry.coverage > 0.2
    assert points.count == matches.count == message.count == message.first_count
    assert matches.indices.tolist() == [[row, row] for row in range(message.count)]
    assert (np.diff(matches.scores) <= 0).all()
    truth_px = _moved(points.first_px[geometry.is_inlier], view.picture_from_image)
    off_px = np.linalg.norm(points.second_px[geometry.is_inlier] - truth_px, axis=1)
    assert np.median(off_px) < 1.0 and off_px.max() < 5.0
    corners = np.array([[0.0, 0.0], [639.0, 0.0], [639.0, 479.0], [0.0, 479.0]])
    np.testing.assert_allclose(_moved(corners, geometry.matrix), _moved(corners, view.picture_from_image), atol=4.0)
    tiles = load_map_tiles(mapped.index, [mapped.map_path], shorter_px=_PIXELS)
    found_m = image_center_m(geometry.matrix, mapped.index, tiles, view.tile, image_height=480, image_width=640)
    np.testing.assert_allclose(found_m, view.position_m, atol=0.3)
    timings = message.timings
    assert 0 < timings.infer_ms < timings.total_ms and timings.preprocess_ms > 0 and timings.decode_ms >= 0


def _moved(points: NDArray[Any], homography: NDArray[np.float64]) -> NDArray[np.float64]:
    projected = np.column_stack((points, np.ones(len(points)))) @ homography.T
    return np.asarray(projected[:, :2] / projected[:, 2:])


@pytest.mark.parametrize("heading_deg", [0.0, 90.0, 270.0])
def test_image_finds_its_place_on_the_map_to_a_pixel(
    bench: NodeBench, feeds: Feeds, mapped: IndexedMap, heading_deg: float
) -> None:
    view = View(mapped, _tile(mapped, heading_deg, 2))
    _assert_right(feeds.answer(view, int(heading_deg) + 1), view, mapped)


def test_compressed_images_come_to_the_same_place(bench: NodeBench, feeds: Feeds, mapped: IndexedMap) -> None:
    _reconfigure(bench, feeds, image_transport="compressed")
    publisher = bench.client.image_publisher("/image/compressed", CompressedImage, node_qos=DEEP)
    view = View(mapped, _tile(mapped, 0.0, 1))
    jpeg = cv2.imencode(".jpg", np.ascontiguousarray(view.image_rgb[:, :, ::-1]))[1].tobytes()
    feeds.send_places(40, view.tile)
    publisher.publish(compressed_message(jpeg, "jpeg", 40))
    wait_for(lambda: stamp_ns_from_message(feeds.matches[-1]) == 40, "matches of the JPEG")
    _assert_right(feeds.matches[-1], view, mapped)
    _reconfigure(bench, feeds, image_transport="raw")


def test_candidate_that_fits_best_counts_where_several_are_tried(
    bench: NodeBench, feeds: Feeds, mapped: IndexedMap
) -> None:
    right, wrong = _tile(mapped, 0.0, 0), _tile(mapped, 180.0, 0)
    view = View(mapped, right)
    missed = feeds.answer(view, 50, wrong, right)
    assert tile_of_frame_id(missed.second_header.frame_id)[1] == wrong and missed.inlier_count < 15
    assert bench.client.set_parameter("candidates", 2, _NODE) == (True, "")
    found = feeds.answer(view, 51, wrong, right)
    _assert_right(found, view, mapped)
    assert bench.client.set_parameter("candidates", 1, _NODE) == (True, "")


def test_image_and_candidates_of_one_stamp_belong_together_whichever_comes_first(
    bench: NodeBench, feeds: Feeds, mapped: IndexedMap
) -> None:
    _reconfigure(bench, feeds)
    feeds.matches.clear()
    first, second = View(mapped, _tile(mapped, 0.0, 0)), View(mapped, _tile(mapped, 90.0, 1))
    feeds.send_image(first, 101)
    feeds.send_image(second, 102)

    def have_come() -> bool:
        values = {item.key: item.value for item in bench.statuses(_TASK)[-1].values}
        return (values["received"], values["pending"]) == ("2", "2")

    wait_for(have_come, "two images that wait")
    feeds.send_places(102, second.tile)
    wait_for(lambda: len(feeds.matches) == 1, "the second image's matches")
    feeds.send_places(103, first.tile)
    feeds.send_places(101, first.tile)
    wait_for(lambda: len(feeds.matches) == 2, "the first image's matches")
    assert [stamp_ns_from_message(message) for message in feeds.matches] == [102, 101]
    for message, view in zip(feeds.matches, (second, first), strict=True):
        _assert_right(message, view, mapped)
    assert bench.settled(_TASK, 2)["published"] == 2


def test_only_images_with_few_sparse_inliers_go_through_the_network(
    bench: NodeBench, feeds: Feeds, mapped: IndexedMap
) -> None:
    _reconfigure(bench, feeds, refine_below_inliers=20)
    feeds.matches.clear()
    view = View(mapped, _tile(mapped, 0.0, 0))
    feeds.answer(view, 200)  # nobody publishes sparse matches
    sparse = bench.client.image_publisher("/feature_matches", messages.FeatureMatches, node_qos=DEEP)
    bench.client.await_seen_by(_NODE)

    def send_sparse(stamp_ns: int, inliers: int) -> None:
        header = RclpyMessageFactory().header(stamp_ns, "camera_optical")
        sparse.publish(messages.FeatureMatches(header=header, inlier_count=inliers))

    for stamp_ns, inliers in ((201, 20), (202, 19), (203, 500)):
        send_sparse(stamp_ns, inliers)
        feeds.send_places(stamp_ns, view.tile)
        feeds.send_image(view, stamp_ns)
    counts = bench.settled(_TASK, 4)
    assert (counts["published"], counts["dropped_not_needed"]) == (2, 2)
    assert [stamp_ns_from_message(message) for message in feeds.matches] == [200, 202]
    assert [(drop.reason, drop.count) for drop in feeds.matches[-1].dropped_since_last] in (
        [("not_needed", 1)],
        [("not_needed", 2)],  # the third image was counted while the second was matched
    )
    feeds.send_places(204, view.tile)
    feeds.send_image(view, 204)
    wait_for(lambda: bench.statuses(_TASK)[-1].message.startswith("2 of 5 messages answered, 2 needed none"), "OK")
    assert len(feeds.matches) == 2, "the sparse matches of this image have not come"
    send_sparse(204, 0)
    wait_for(lambda: stamp_ns_from_message(feeds.matches[-1]) == 204, "the image that waited")
    _assert_right(feeds.matches[-1], view, mapped)
    health = bench.client.health("/refinement")
    wait_for(lambda: {drop.reason: drop.count for drop in health[-1].dropped}["not_needed"] == 2, "the same in health")
    bench.client.node.destroy_publisher(sparse)
    _reconfigure(bench, feeds, refine_below_inliers=0)


def test_images_without_candidates_are_counted_and_forgotten(
    bench: NodeBench, feeds: Feeds, mapped: IndexedMap
) -> None:
    _reconfigure(bench, feeds, max_waiting_images=4)
    view = View(mapped, _tile(mapped, 0.0, 0))
    for stamp_ns in range(300, 306):
        feeds.send_image(view, stamp_ns)

    def counts() -> dict[str, str]:
        return {item.key: item.value for item in bench.statuses(_TASK)[-1].values}

    wait_for(lambda: (counts()["pending"], counts()["dropped_unpaired"]) == ("4", "2"), "two that gave way")
    assert counts()["received"] == "6"
    assert bench.client.change_state("deactivate", _NODE)
    settled = bench.settled(_TASK, 6)
    assert (settled["dropped_inactive"], settled["dropped_unpaired"], settled["published"]) == (4, 2, 0)
    assert bench.client.change_state("activate", _NODE)
    feeds.send_image(view, 310)
    wait_for(lambda: counts()["pending"] == "1", "one that waits")
    assert bench.client.set_parameter("max_frame_age_ms", 1.0, _NODE) == (True, "")
    assert bench.settled(_TASK, 7)["dropped_unpaired"] == 3
    assert bench.client.set_parameter("max_frame_age_ms", 60000.0, _NODE) == (True, "")
    _reconfigure(bench, feeds, max_waiting_images=16)


def test_what_cannot_be_used_is_counted_and_told(bench: NodeBench, feeds: Feeds, mapped: IndexedMap) -> None:
    _reconfigure(bench, feeds)
    before = len(feeds.matches)
    view = View(mapped, _tile(mapped, 0.0, 0))
    seen = len(bench.statuses(_TASK))
    feeds.send_places(400, view.tile)
    feeds.image.publish(image_message(view.image_rgb, "no_such_encoding", 400))
    assert bench.settled(_TASK, 1)["dropped_undecodable"] == 1
    feeds.send_places(401, view.tile, index_sha256="cd" * 32)
    feeds.send_image(view, 401)
    feeds.send_places(402)
    feeds.send_image(view, 402)
    counts = bench.settled(_TASK, 3)
    assert counts["dropped_failed"] + counts["dropped_overwritten"] == 2 and counts["dropped_failed"] >= 1
    wait_for(
        lambda: any(
            status.level == DiagnosticStatus.ERROR and "could not be used" in status.message
            for status in bench.statuses(_TASK)[seen:]
        ),
        "an ERROR",
    )
    assert len(feeds.matches) == before
    feeds.image.publish(Image())  # as bytes that are no message: nothing ever belongs to it
    assert bench.settled(_TASK, 4)["dropped_undecodable"] == 2
    _assert_right(feeds.answer(view, 403), view, mapped)


def test_model_info_and_health_say_what_runs(bench: NodeBench, feeds: Feeds, mapped: IndexedMap) -> None:
    _reconfigure(bench, feeds)
    infos = bench.client.model_info("/refinement")
    info = wait_for(lambda: infos[-1], "the latched model_info")
    assert (info.model, info.output_kind, info.camera_id) == (MODEL, "correspondences", "nadir")
    assert (info.runtime, info.is_gated, info.input_height, info.input_width) == ("pytorch_fp16", False, 240, 320)
    view = View(mapped, _tile(mapped, 0.0, 0))
    feeds.answer(view, 500)
    health = bench.client.health("/refinement")
    wait_for(lambda: health[-1].received == health[-1].published == 1, "its counters")
    message = health[-1]
    assert (message.model, message.lifecycle_state, message.input_encoding) == (MODEL, "active", "rgb8")
    assert message.input_size == "640x480" and message.resident_bytes > 0
    assert message.level == 1 and "allow_ungated" in message.message
    engine = {item.key: item.value for item in bench.next_status(_ENGINE_TASK).values}
    assert (engine["index_sha256"], engine["maps"]) == (mapped.index.sha256, "map.tif")
    assert bench.next_status(_INPUT_TASK).values


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("primary.model", "xfeat", "a network that matches; this one gives local_features of one image"),
        ("primary.model", "lighterglue_xfeat", "a network that takes two images; this one matches features"),
        ("primary.model", "no_such_network", "no_such_network"),
        ("allow_ungated", False, "gdi engine build"),
        ("index", "", "gdi index build"),
        ("maps", ["{other}"], "a map that the index was built from: map.tif"),
        ("maps", [""], "paths of the maps of the index"),
    ],
)
def test_what_is_not_right_is_refused_at_configure(
    bench: NodeBench, feeds: Feeds, mapped: IndexedMap, name: str, value: Any, sentence: str
) -> None:
    client = bench.client
    for transition in ("deactivate", "cleanup"):
        assert client.change_state(transition, _NODE)
    if value == ["{other}"]:
        value = [str(write_map(bench.folder / "map.tif", np.zeros((700, 800, 3), np.uint8)))]
    changed = {name: value}
    if value == "lighterglue_xfeat":
        changed["primary.checkpoint"] = ""
    for parameter, item in changed.items():
        assert client.set_parameter(parameter, item, _NODE) == (True, "")
    assert not client.change_state("configure", _NODE)
    bench.wait_for_status(_ENGINE_TASK, DiagnosticStatus.ERROR, sentence)
    right = {
        "primary.model": MODEL,
        "primary.checkpoint": str(bench.folder / f"{MODEL}.safetensors"),
        "allow_ungated": True,
        "index": str(mapped.index_path),
        "maps": [str(mapped.map_path)],
    }
    for parameter in changed:
        assert client.set_parameter(parameter, right[parameter], _NODE) == (True, "")
    client.bring_up(_NODE)


def test_every_parameter_is_described_and_stands_in_the_shipped_file(bench: NodeBench) -> None:
    fields = {item.name: item for item in REFINEMENT_FIELDS} | {
        f"primary.{item.name}": item for item in REFINEMENT_ENGINE_FIELDS
    }
    descriptors = bench.client.describe_parameters(list(fields), _NODE)
    for item, described in zip(fields.values(), descriptors, strict=True):
        assert described.description == item.description and described.additional_constraints == item.allowed
    values, text = parameters_of_file(_ROOT / "config" / "refinement.yaml")
    assert values == {name: default_in_file(item) for name, item in fields.items()}
    for item in fields.values():
        assert " ".join(f"{item.description} Allowed: {item.allowed}.".split()) in text
