"""`debug_overlay_node` as a process: it draws what was found, the newest alone, and nothing while nobody looks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from node_bench import DEEP, NodeBench, default_in_file, node_bench, parameters_of_file
from node_harness import image_message, wait_for
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage

import gps_denied_inference.msg as messages
from gps_denied_inference.core.imaging.overlay import INLIER_RGB, KEYPOINT_RGB, OUTLIER_RGB
from gps_denied_inference.core.interface import stamp_ns_from_message
from gps_denied_inference.ros.debug_overlay_node import DEBUG_OVERLAY_FIELDS
from gps_denied_inference.ros.message_factory import RclpyMessageFactory

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")

_ROOT = Path(__file__).resolve().parents[2]
_NODE = "/debug_overlay_node"
_TASK, _VIEWERS = f"{_NODE}: overlay", f"{_NODE}: viewers"
_EVERY_MESSAGE = ("input_reliability:=reliable", "input_depth:=100", "output_depth:=1000", "diagnostics_rate_hz:=10.0")
_POINTS = np.array([[100, 120], [200, 120], [300, 120]], np.float32)
_OVERLAY = "/debug_overlay/compressed"


@pytest.fixture(scope="module")
def bench(domain_id: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeBench]:
    with node_bench(domain_id, tmp_path_factory.mktemp("node")) as bench:
        node = bench.start("debug_overlay_node", "jpeg_quality:=100", *_EVERY_MESSAGE)
        bench.client.bring_up(_NODE)
        yield bench
        assert node.end() == 0
        assert "Traceback" not in node.log


class Feeds:
    def __init__(self, bench: NodeBench) -> None:
        client = bench.client
        self._factory = RclpyMessageFactory()
        self.image = client.image_publisher("/image", node_qos=DEEP)
        self.features = client.image_publisher("/local_features", messages.LocalFeatures, node_qos=DEEP)
        self.matches = client.image_publisher("/feature_matches", messages.FeatureMatches, node_qos=DEEP)
        self.refined = client.image_publisher("/refinement/feature_matches", messages.FeatureMatches, node_qos=DEEP)
        self.places = client.image_publisher("/place_candidates", messages.PlaceCandidates, node_qos=DEEP)

    def send_image(self, stamp_ns: int, height: int = 240, width: int = 400) -> None:
        self.image.publish(image_message(np.full((height, width, 3), 90, np.uint8), "rgb8", stamp_ns))

    def send_features(self, stamp_ns: int) -> None:
        self.features.publish(
            messages.LocalFeatures(
                header=self._factory.header(stamp_ns, "camera_optical"),
                image_height=240,
                image_width=400,
                count=3,
                dimension=0,
                keypoints_px=self._factory.floats(_POINTS),
                scores=self._factory.floats(np.ones(3, np.float32)),
                is_valid=True,
            )
        )

    def send_matches(self, stamp_ns: int) -> None:
        self.matches.publish(
            messages.FeatureMatches(
                header=self._factory.header(stamp_ns, "camera_optical"),
                count=2,
                indices=self._factory.integers(np.array([[1, 5], [2, 6]], np.int32)),
                scores=self._factory.floats(np.ones(2, np.float32)),
                geometry="homography",
                is_inlier=self._factory.octets(np.array([1, 0], np.uint8)),
            )
        )

    def send_points(self, stamp_ns: int, points_px: NDArray[np.float32]) -> None:
        count = len(points_px)
        rows = np.arange(count, dtype=np.int32)
        self.refined.publish(
            messages.FeatureMatches(
                header=self._factory.header(stamp_ns, "camera_optical"),
                count=count,
                indices=self._factory.integers(np.stack((rows, rows), axis=1)),
                scores=self._factory.floats(np.ones(count, np.float32)),
                first_px=self._factory.floats(points_px),
                second_px=self._factory.floats(points_px),
                geometry="homography",
                is_inlier=self._factory.octets((rows % 2 == 0).astype(np.uint8)),
            )
        )

    def send_places(self, stamp_ns: int) -> None:
        candidate = messages.PlaceCandidate(tile=7, x_m=1.0, y_m=2.0, similarity=0.5)
        header = self._factory.header(stamp_ns, "camera_optical")
        self.places.publish(messages.PlaceCandidates(header=header, candidates=[candidate]))


@pytest.fixture(scope="module")
def feeds(bench: NodeBench) -> Feeds:
    return Feeds(bench)


def _decoded(message: Any) -> NDArray[np.uint8]:
    assert message.format == "jpeg"
    image: NDArray[np.uint8] = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    return image


def _is_drawn(image: NDArray[np.uint8], point: NDArray[np.float32], color: tuple[int, int, int]) -> bool:
    """Whether a ring of about that colour lies around the point."""
    x, y = (int(value) for value in point)
    ring = image[y - 4 : y + 5, x - 4 : x + 5].reshape(-1, 3).astype(int)
    # JPEG halves the resolution of colours: it is their direction from the gray ground that tells.
    wanted = np.array(color) - 90
    likeness = (ring - 90) @ wanted / np.linalg.norm(wanted) / np.maximum(np.linalg.norm(ring - 90, axis=1), 20)
    return bool((likeness > 0.9).sum() >= 5)


def test_nothing_is_drawn_while_nobody_looks_and_what_was_found_when_somebody_does(
    bench: NodeBench, feeds: Feeds
) -> None:
    for stamp in range(1, 6):
        feeds.send_image(stamp)
        feeds.send_features(stamp)
    counts = bench.settled(_TASK, 5)
    assert (counts["dropped_inactive"], counts["published"]) == (5, 0)
    assert bench.next_status(_VIEWERS).message.startswith("0 ")
    overlays = bench.client.collect(CompressedImage, _OVERLAY, DEEP)
    bench.wait_for_status(_VIEWERS, DiagnosticStatus.OK, "1 subscribers")
    feeds.send_features(10)  # whichever comes first
    feeds.send_image(10)
    wait_for(lambda: stamp_ns_from_message(overlays[-1]) == 10, "the overlay of the keypoints")
    image = _decoded(overlays[-1])
    assert image.shape == (240, 400, 3) and overlays[-1].header.frame_id == "camera_optical"
    assert all(_is_drawn(image, point, KEYPOINT_RGB) for point in _POINTS)
    feeds.send_matches(10)

    def has_matches() -> bool:
        image = _decoded(overlays[-1])
        colors = (KEYPOINT_RGB, INLIER_RGB, OUTLIER_RGB)
        return all(_is_drawn(image, point, color) for point, color in zip(_POINTS, colors, strict=True))

    wait_for(has_matches, "inliers and outliers")
    before = _decoded(overlays[-1])[20:60, :300].std()
    feeds.send_places(10)
    wait_for(lambda: _decoded(overlays[-1])[20:60, :300].std() > before + 5, "the candidate's line")
    assert bench.client.set_parameter("max_width_px", 200, _NODE) == (True, "")
    feeds.send_image(11)
    feeds.send_features(11)
    wait_for(lambda: stamp_ns_from_message(overlays[-1]) == 11, "the smaller overlay")
    assert _decoded(overlays[-1]).shape == (120, 200, 3)
    size = len(overlays[-1].data)
    assert bench.client.set_parameter("jpeg_quality", 10, _NODE) == (True, "")
    feeds.send_image(12)
    feeds.send_features(12)
    wait_for(lambda: stamp_ns_from_message(overlays[-1]) == 12 and len(overlays[-1].data) < size, "a smaller file")


def test_points_that_a_network_found_in_the_images_are_drawn_where_they_lie(bench: NodeBench, feeds: Feeds) -> None:
    overlays = bench.client.collect(CompressedImage, _OVERLAY, DEEP)
    bench.wait_for_status(_VIEWERS, DiagnosticStatus.OK, "subscribers")
    for name, value in (("max_width_px", 960), ("jpeg_quality", 100)):
        assert bench.client.set_parameter(name, value, _NODE) == (True, "")
    elsewhere = np.array([[150, 180], [250, 180], [350, 180]], np.float32)
    feeds.send_points(30, elsewhere)
    feeds.send_features(30)
    feeds.send_image(30)

    def is_all_drawn() -> bool:
        image = _decoded(overlays[-1])
        colors = (INLIER_RGB, OUTLIER_RGB, INLIER_RGB)
        return all(_is_drawn(image, point, color) for point, color in zip(elsewhere, colors, strict=True)) and all(
            _is_drawn(image, point, KEYPOINT_RGB)
            for point in _POINTS  # its rows are not the keypoints'
        )

    wait_for(is_all_drawn, "points and keypoints")


def _drawn_again(bench: NodeBench) -> int:
    return int(next(item.value for item in bench.next_status(_VIEWERS).values if item.key == "drawn_again"))


def test_image_is_counted_once_however_often_it_is_drawn_and_when_nothing_is_found_in_it(
    bench: NodeBench, feeds: Feeds
) -> None:
    overlays = bench.client.collect(CompressedImage, _OVERLAY, DEEP)
    bench.wait_for_status(_VIEWERS, DiagnosticStatus.OK, "subscribers")
    for transition in ("deactivate", "activate"):  # what waits is let go
        assert bench.client.change_state(transition, _NODE)
    before = {item.key: int(item.value) for item in bench.next_status(_TASK).values if item.value.isdigit()}
    overlays.clear()
    first_again = _drawn_again(bench)

    feeds.send_image(100)
    for send in (feeds.send_features, feeds.send_matches, feeds.send_places):
        count = len(overlays)
        send(100)
        wait_for(lambda count=count: len(overlays) > count, "another overlay of the same image")  # type: ignore[misc]
    counts = bench.settled(_TASK, before["received"] + 1)
    assert counts["published"] - before["published"] == 1
    again = _drawn_again(bench) - first_again
    assert again == 2 and len(overlays) == 1 + again
    assert {stamp_ns_from_message(overlay) for overlay in overlays} == {100}

    # 16 images are held; those that give way before anything was found in them are counted, too.
    for stamp in range(200, 220):
        feeds.send_image(stamp, 80, 120)

    def have_given_way() -> bool:
        values = {item.key: item.value for item in bench.statuses(_TASK)[-1].values}
        return (int(values["received"]) - before["received"], values["pending"]) == (21, "16")

    wait_for(have_given_way, "all images, 16 of them pending")
    assert len(overlays) == 3
    feeds.send_features(219)
    wait_for(lambda: stamp_ns_from_message(overlays[-1]) == 219, "the overlay of the last image")
    assert bench.client.change_state("deactivate", _NODE)
    counts = bench.settled(_TASK, before["received"] + 21)
    gained = {key: counts[key] - before[key] for key in counts}
    assert (gained["published"], gained["dropped_unpaired"], gained["dropped_inactive"]) == (2, 4, 15)
    assert sum(count for key, count in gained.items() if key not in ("received", "pending")) == 21
    assert bench.client.change_state("activate", _NODE)


def test_every_parameter_is_described_and_stands_in_the_shipped_file(bench: NodeBench) -> None:
    descriptors = bench.client.describe_parameters([item.name for item in DEBUG_OVERLAY_FIELDS], _NODE)
    for item, described in zip(DEBUG_OVERLAY_FIELDS, descriptors, strict=True):
        assert described.description == item.description and described.additional_constraints == item.allowed
    values, text = parameters_of_file(_ROOT / "config" / "debug_overlay.yaml")
    assert values == {item.name: default_in_file(item) for item in DEBUG_OVERLAY_FIELDS}
    for item in DEBUG_OVERLAY_FIELDS:
        assert " ".join(f"{item.description} Allowed: {item.allowed}.".split()) in text
