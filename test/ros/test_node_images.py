"""Images in, features out, over DDS, with the real networks on the CPU."""

import time
from functools import partial
from typing import Any

import cv2
import numpy as np
import pytest
from node_harness import Client, NodeLauncher, compressed_message, image_message, wait_for
from node_parameters import REAL_ENGINE, fake_parameters
from numpy.typing import NDArray
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage

import gps_denied_inference.msg as messages
from gps_denied_inference.core.assembly import assemble_pipeline
from gps_denied_inference.core.contracts import GlobalDescriptor, LocalFeatures
from gps_denied_inference.core.interface import (
    compressed_frame_from_message,
    global_descriptor_from_message,
    image_frame_from_message,
    local_features_from_message,
    stamp_ns_from_message,
)
from gps_denied_inference.core.settings import EngineSettings, Settings

_STAMP_NS = 1_466_699_519_123_456_789
_LARGE_FRAMES = ("input_reliability:=reliable",)
"""Best effort loses frames that don't fit the default transport's shared memory of 512 KiB (VGA rgb8 does not)."""


def _scene(seed: int, height: int = 240, width: int = 320) -> NDArray[np.uint8]:
    """A colourful image with structure at every scale, (height, width, 3) RGB."""
    random = np.random.default_rng(seed)
    scene = np.zeros((height, width, 3), np.float32)
    for cells in (4, 16, 64):
        noise = random.uniform(0, 255, (cells, cells, 3)).astype(np.float32)
        scene += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC) / 3
    return np.clip(scene, 0, 255).astype(np.uint8)


def _settings(model: str) -> Settings:
    return Settings(engines=(EngineSettings(model=model),), allow_cpu_fallback=True, allow_ungated=True)


def _send_until_answered(publisher: Any, message: Any, received: list[Any]) -> Any:
    count = len(received)
    publisher.publish(message)
    wait_for(lambda: len(received) > count, "an answer to the image")
    return received[-1]


def test_descriptor_over_dds_is_the_one_of_the_offline_pipeline(client: Client, launcher: NodeLauncher) -> None:
    node = launcher.start(*REAL_ENGINE, "camera_id:=nadir")
    received, infos = client.features(), client.model_info()
    client.bring_up()
    publisher = client.image_publisher()
    message = image_message(_scene(0), "rgb8", _STAMP_NS, "camera_optical")
    answer = _send_until_answered(publisher, message, received)
    with assemble_pipeline(_settings("efficientnet_lite0_grid")) as pipeline:
        expected = pipeline.process(image_frame_from_message(message)).features
        assert isinstance(expected, GlobalDescriptor)
        assert answer.space_id == pipeline.model.space_id
        assert answer.weights_sha256 == pipeline.model.weights_sha256
    values = global_descriptor_from_message(answer).values
    assert values.shape == (448,)
    assert float(values @ expected.values) > 1 - 1e-5
    assert np.linalg.norm(values) == pytest.approx(1.0, abs=1e-5)
    assert stamp_ns_from_message(answer) == _STAMP_NS
    assert answer.header.frame_id == "camera_optical"
    assert answer.camera_id == "nadir"
    assert (answer.model, answer.runtime, answer.dtype) == ("efficientnet_lite0_grid", "pytorch_fp16", "float32")
    assert answer.timings.infer_ms > 0
    assert answer.timings.total_ms >= answer.timings.infer_ms
    info = wait_for(lambda: infos and infos[-1], "the latched model_info")
    assert (info.space_id, info.requested_precision, info.dimension) == (answer.space_id, "fp16", 448)
    assert info.effective_precision == answer.effective_precision
    assert bool(info.fallback_reason) == (info.effective_precision == "fp32")
    assert node.end() == 0


def test_local_features_over_dds_are_the_ones_of_the_offline_pipeline(client: Client, launcher: NodeLauncher) -> None:
    node = launcher.start(*REAL_ENGINE, "primary.model:=xfeat", "primary.top_k:=100", *_LARGE_FRAMES)
    received = client.collect(messages.LocalFeatures, "/local_features")
    client.bring_up()
    message = image_message(_scene(1, 480, 640), "rgb8", _STAMP_NS)
    answer = _send_until_answered(client.image_publisher(), message, received)
    with assemble_pipeline(_settings("xfeat")) as pipeline:
        expected = pipeline.process(image_frame_from_message(message)).features
        assert isinstance(expected, LocalFeatures)
    features = local_features_from_message(answer)
    assert features.count == 100 == answer.count
    assert (answer.image_height, answer.image_width, answer.dimension) == (480, 640, 64)
    np.testing.assert_allclose(features.scores, expected.scores[:100], atol=1e-5)
    np.testing.assert_allclose(features.keypoints_px, expected.keypoints_px[:100], atol=1e-3)
    assert node.end() == 0


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return _scene(2)


def test_every_colour_order_gives_the_same_descriptor(
    client: Client, launcher: NodeLauncher, pixels: NDArray[np.uint8]
) -> None:
    node = launcher.start(*REAL_ENGINE)
    received = client.features()
    client.bring_up()
    publisher = client.image_publisher()
    opaque = np.full((*pixels.shape[:2], 1), 255, np.uint8)
    images = {
        "rgb8": pixels,
        "bgr8": pixels[..., ::-1],
        "rgba8": np.concatenate([pixels, opaque], axis=2),
        "bgra8": np.concatenate([pixels[..., ::-1], opaque], axis=2),
        "rgb16": pixels.astype(np.uint16) * 257,
    }
    values = [
        global_descriptor_from_message(
            _send_until_answered(publisher, image_message(image, encoding, index), received)
        ).values
        for index, (encoding, image) in enumerate(images.items())
    ]
    for other in values[1:]:
        np.testing.assert_allclose(other, values[0], atol=1e-6)
    swapped = _send_until_answered(publisher, image_message(pixels[..., ::-1], "rgb8", 9), received)
    assert float(global_descriptor_from_message(swapped).values @ values[0]) < 0.999
    assert node.end() == 0


def test_compressed_images_are_decoded_and_damaged_ones_counted(
    client: Client, launcher: NodeLauncher, pixels: NDArray[np.uint8]
) -> None:
    node = launcher.start(*REAL_ENGINE, "image_transport:=compressed")
    received, health = client.features(), client.health()
    client.bring_up()
    publisher = client.image_publisher("/image/compressed", CompressedImage)
    jpeg = cv2.imencode(".jpg", pixels[..., ::-1])[1].tobytes()
    png = cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()
    message = compressed_message(png, "rgb8; png compressed bgr8", _STAMP_NS)
    lossless = global_descriptor_from_message(_send_until_answered(publisher, message, received)).values
    lossy = global_descriptor_from_message(
        _send_until_answered(publisher, compressed_message(jpeg, "jpeg", 2), received)
    ).values
    assert 0.97 < float(lossless @ lossy) < 1.0
    with assemble_pipeline(_settings("efficientnet_lite0_grid")) as pipeline:
        expected = pipeline.process(compressed_frame_from_message(message)).features
        assert isinstance(expected, GlobalDescriptor)
    assert float(lossless @ expected.values) > 1 - 1e-5
    publisher.publish(compressed_message(jpeg[: len(jpeg) // 2], "jpeg", 3))
    last = wait_for(lambda: [h for h in health if _dropped(h, "undecodable") == 1], "the damaged frame's drop")[-1]
    assert (last.received, last.published) == (3, 2)
    assert "primary" not in last.last_error and last.last_error
    assert node.end() == 0


def _has_dropped(health: list[Any], undecodable: int) -> bool:
    return bool(health) and _dropped(health[-1], "undecodable") == undecodable


def _dropped(health: Any, reason: str) -> int:
    return int(next(drop.count for drop in health.dropped if drop.reason == reason))


def test_messages_that_the_middleware_cannot_read_are_told_of_and_do_no_harm(
    client: Client, launcher: NodeLauncher, pixels: NDArray[np.uint8], fake_engine: tuple[str, ...]
) -> None:
    node = launcher.start(*fake_engine, *_LARGE_FRAMES, "input_depth:=10", "diagnostics_rate_hz:=10.0")
    received, health = client.features(), client.health()
    client.bring_up()
    publisher = client.image_publisher()
    image = serialize_message(image_message(pixels, "rgb8", 1))
    _send_until_answered(publisher, image, received)
    assert "no sensor_msgs/Image" not in node.log
    cut = image[:-5], image[:20], b"\x00\x01\x00\x00" + bytes(range(60)), image[:4] + b"\xff" * 60
    for broken in cut * 2:
        publisher.publish(broken)
        time.sleep(0.05)  # one wake-up for each
    node.wait_for_log("what comes on /image is no sensor_msgs/Image that the middleware can read")
    _send_until_answered(publisher, image, received)
    wait_for(lambda: health and health[-1].received == 2, "the books of the two images")
    np.testing.assert_array_equal(received[0].values, received[1].values)
    assert node.end() == 0


def test_wrong_encoding_size_or_padding_is_counted_and_the_next_good_frame_works(
    client: Client, launcher: NodeLauncher, pixels: NDArray[np.uint8], fake_engine: tuple[str, ...]
) -> None:
    node = launcher.start(*fake_engine, *_LARGE_FRAMES)
    received, health = client.features(), client.health()
    client.bring_up()
    publisher = client.image_publisher()
    unknown = image_message(pixels, "rgb8", 1)
    unknown.encoding = "rainbow9"
    short = image_message(pixels, "rgb8", 2)
    short.height += 1
    narrow = image_message(pixels, "rgb8", 3)
    narrow.step -= 1
    empty = image_message(pixels, "rgb8", 4)
    empty.width = 0
    for index, bad in enumerate((unknown, short, narrow, empty)):
        publisher.publish(bad)
        wait_for(partial(_has_dropped, health, index + 1), f"drop {index + 1}")
    assert "rainbow9" in node.log
    answer = _send_until_answered(publisher, image_message(pixels, "rgb8", 5), received)
    assert [(drop.reason, drop.count) for drop in answer.dropped_since_last] == [("undecodable", 4)]
    padded = np.zeros((240, 1024), np.uint8)
    padded[:, : 320 * 3] = pixels.reshape(240, -1)
    wide = image_message(padded, "rgb8", 6)
    wide.width = 320
    padded_answer = _send_until_answered(publisher, wide, received)
    np.testing.assert_array_equal(padded_answer.values, answer.values)
    larger = _send_until_answered(publisher, image_message(_scene(3, 480, 640), "rgb8", 7), received)
    assert larger.is_valid
    assert node.end() == 0


def test_nan_never_leaves_the_node(
    client: Client, launcher: NodeLauncher, tmp_path: Any, pixels: NDArray[np.uint8]
) -> None:
    script = "latency_ms: 1.0\nfaults:\n  - {frame: 1, kind: nan}\n  - {frame: 2, kind: inference_error}\n"
    node = launcher.start(*fake_parameters(tmp_path, script))
    received, health = client.features(), client.health()
    client.bring_up()
    publisher = client.image_publisher()
    _send_until_answered(publisher, image_message(pixels, "rgb8", 1), received)
    publisher.publish(image_message(pixels, "rgb8", 2))
    wait_for(lambda: health and _dropped(health[-1], "not_finite") == 1, "the NaN output's drop")
    publisher.publish(image_message(pixels, "rgb8", 3))
    wait_for(lambda: health and _dropped(health[-1], "failed") == 1, "the failed frame's drop")
    answer = _send_until_answered(publisher, image_message(pixels, "rgb8", 4), received)
    assert {drop.reason: drop.count for drop in answer.dropped_since_last} == {"not_finite": 1, "failed": 1}
    assert [stamp_ns_from_message(message) for message in received] == [1, 4]
    assert all(np.isfinite(message.values).all() for message in received)
    assert node.end() == 0
