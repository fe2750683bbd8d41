"""cv_bridge is the reference for encodings, where a real one is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from synthetic_frames import frame_of

from gps_denied_inference.core.contracts import ColorSpace
from gps_denied_inference.core.imaging import ENCODINGS, decode

try:
    import cv_bridge
    from cv_bridge.boost.cv_bridge_boost import cvtColor2
    from sensor_msgs.msg import Image
except Exception as error:  # a cv_bridge built for another numpy or OpenCV fails in many ways
    pytest.skip(f"no working cv_bridge here: {error}", allow_module_level=True)

# cv_bridge gives these no colour of their own; passed through, they are in OpenCV's order.
SAME_PIXELS_AS = {
    "8UC1": "mono8",
    "8UC3": "bgr8",
    "8UC4": "bgra8",
    "16UC1": "mono16",
    "16UC3": "bgr16",
    "16UC4": "bgra16",
    "uyvy": "yuv422",
    "yuyv": "yuv422_yuy2",
}


@pytest.fixture(scope="module")
def bridge() -> Any:
    if hasattr(cvtColor2, "__code__"):
        pytest.skip("the cv_bridge installed here is a Python port, not the one of ROS 2")
    return cv_bridge.CvBridge()


@pytest.mark.parametrize("color", ColorSpace)
@pytest.mark.parametrize("name", ENCODINGS)
def test_decoder_agrees_with_cv_bridge(bridge: Any, name: str, color: ColorSpace) -> None:
    if name in ("nv12", "nv21", "nv24"):
        pytest.skip("cv_bridge does not convert semi-planar encodings")
    rgb = np.random.default_rng(2).integers(0, 256, (18, 26, 3), dtype=np.uint8)
    # Little endian only: cv_bridge drops the result of its byte swap (matFromImage, mat_swap.reshape).
    # Whole pixels of padding, because cv_bridge's Python side divides the step by the size of a pixel.
    frame = frame_of(rgb, name, padding=24)
    message = Image()
    message.encoding = SAME_PIXELS_AS.get(name, name)
    message.height, message.width, message.step = frame.height, frame.width, frame.step
    message.data = frame.data.tobytes()
    wanted = "rgb8" if color is ColorSpace.RGB else "mono8"
    expected = np.asarray(bridge.imgmsg_to_cv2(message, wanted)).reshape(frame.height, frame.width, -1)
    np.testing.assert_array_equal(decode(frame, color), expected)
