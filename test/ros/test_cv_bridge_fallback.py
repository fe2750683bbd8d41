"""Encodings that only cv_bridge knows, with a stand-in of cv_bridge."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from node_harness import image_message
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import ColorSpace
from gps_denied_inference.core.errors import ImageDecodeError
from gps_denied_inference.core.imaging import decode
from gps_denied_inference.ros.cv_bridge_fallback import CvBridgeFallback

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
    frame = CvBridgeFallback().convert(image_message(_RGB, "rainbow9", 42, "camera"))
    np.testing.assert_array_equal(decode(frame, ColorSpace.RGB), _RGB)
    assert (frame.stamp_ns, frame.frame_id, frame.encoding) == (42, "camera", "rgb8")


@pytest.mark.usefixtures("_cv_bridge")
def test_encoding_that_nobody_knows_is_a_decode_error_with_its_cause() -> None:
    with pytest.raises(ImageDecodeError, match="infra5") as caught:
        CvBridgeFallback().convert(image_message(_RGB, "infra5", 42))
    assert isinstance(caught.value.__cause__, ValueError)
