"""Encodings that our decoder does not know, through cv_bridge where it is installed."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import numpy as np

from gps_denied_inference.core.contracts import ImageFrame
from gps_denied_inference.core.errors import ImageDecodeError
from gps_denied_inference.core.interface import stamp_ns_from_message

__all__ = ["CvBridgeFallback"]


class CvBridgeFallback:
    """Converts a `sensor_msgs/Image` to an `rgb8` frame with cv_bridge, imported at the first use."""

    def __init__(self) -> None:
        self._bridge: Any = None

    @staticmethod
    def is_available() -> bool:
        """Whether cv_bridge is installed, without importing it."""
        return importlib.util.find_spec("cv_bridge") is not None

    def convert(self, message: Any) -> ImageFrame:
        """Return the image as rgb8, owned by the frame.

        Raises:
            ImageDecodeError: cv_bridge does not know the encoding either, or is broken.
        """
        try:
            if self._bridge is None:
                self._bridge = importlib.import_module("cv_bridge").CvBridge()
            image = np.ascontiguousarray(self._bridge.imgmsg_to_cv2(message, desired_encoding="rgb8"))
        except Exception as error:  # cv_bridge raises errors of its own, of OpenCV, and of the import
            raise ImageDecodeError(f"cv_bridge could not convert encoding '{message.encoding}': {error}") from error
        height, width = image.shape[:2]
        return ImageFrame(
            stamp_ns=stamp_ns_from_message(message),
            frame_id=str(message.header.frame_id),
            encoding="rgb8",
            height=height,
            width=width,
            step=width * 3,
            is_bigendian=False,
            data=image.reshape(-1),
        )
