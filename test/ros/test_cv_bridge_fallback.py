"""Images that our own readers do not know: cv_bridge (a stand-in) and the middleware help."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from local_node import local_node
from node_harness import Client, image_message, wait_for
from numpy.typing import NDArray
from rclpy.serialization import serialize_message
from rclpy.utilities import get_rmw_implementation_identifier

from gps_denied_inference.core.contracts import ColorSpace
from gps_denied_inference.core.errors import ImageDecodeError
from gps_denied_inference.core.imaging import decode
from gps_denied_inference.core.interface import image_frame_from_message, stamp_ns_from_message
from gps_denied_inference.ros.cv_bridge_fallback import CvBridgeFallback
from gps_denied_inference.ros.inference_node import InferenceNode

_RGB = np.random.default_rng(0).integers(0, 255, (4, 6, 3), np.uint8)


class _Bridge:
    def imgmsg_to_cv2(self, message: Any, desired_encoding: str) -> NDArray[np.uint8]:
        assert desired_encoding == "rgb8"
        if message.encoding != "rainbow9":
            raise ValueError(f"unknown encoding {message.encoding}")
        return _RGB


@pytest.fixture
def _cv_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("cv_bridge")
    module.__spec__ = ModuleSpec("cv_bridge", None)
    module.CvBridge = _Bridge
    monkeypatch.setitem(sys.modules, "cv_bridge", module)


@pytest.mark.usefixtures("_cv_bridge")
def test_encoding_that_cv_bridge_knows_becomes_an_rgb_frame_with_its_header() -> None:
    assert CvBridgeFallback.is_available()
    frame = CvBridgeFallback().convert(image_frame_from_message(image_message(_RGB, "rainbow9", 42, "camera")))
    np.testing.assert_array_equal(decode(frame, ColorSpace.RGB), _RGB)
    assert (frame.stamp_ns, frame.frame_id, frame.encoding) == (42, "camera", "rgb8")


@pytest.mark.usefixtures("_cv_bridge")
def test_encoding_that_nobody_knows_is_a_decode_error_with_its_cause() -> None:
    with pytest.raises(ImageDecodeError, match="infra5") as caught:
        CvBridgeFallback().convert(image_frame_from_message(image_message(_RGB, "infra5", 42)))
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.usefixtures("_cv_bridge")
def test_node_publishes_images_that_only_cv_bridge_or_the_middleware_can_read(
    client: Client, domain_id: int, fake_engine: tuple[str, ...]
) -> None:
    received, health = client.features(), client.health()
    with local_node(InferenceNode, domain_id, *fake_engine, "diagnostics_rate_hz:=10.0") as node:
        client.bring_up()
        publisher = client.image_publisher()
        publisher.publish(image_message(_RGB, "rainbow9", 1))
        wait_for(lambda: len(received) == 1, "the frame that cv_bridge knows")
        image = serialize_message(image_message(_RGB, "rgb8", 2))
        if "fastrtps" in get_rmw_implementation_identifier():
            publisher.publish(b"\x00\x07" + image[2:])  # XCDR2
            wait_for(lambda: len(received) == 2, "the frame in another representation")
        publisher.publish(image_message(_RGB, "infra5", 3))
        wait_for(lambda: health and _undecodable(health[-1]) == 1, "what nobody reads")
        assert node.lifecycle_state == "active"
    assert [stamp_ns_from_message(message) for message in received] == [1, 2][: len(received)]
    np.testing.assert_array_equal(received[0].values, received[-1].values)  # the same pixels


def _undecodable(health: Any) -> int:
    return int(next(drop.count for drop in health.dropped if drop.reason == "undecodable"))
