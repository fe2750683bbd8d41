"""Encodings that our decoder does not know, through cv_bridge where it is installed."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import replace
from typing import Any

import numpy as np
from sensor_msgs.msg import Image

from gps_denied_inference.core.contracts import ImageFrame
from gps_denied_inference.core.errors import ImageDecodeError

__all__ = ["CvBridgeFallback"]


class CvBridgeFallback:
    """Converts a `sensor_msgs/Image` to an `rgb8` frame with cv_bridge, imported at the first use."""

    def __init__(self) -> None:
        self._bridge: Any = None

    @staticmethod
    def is_available() -> bool:
        """Whether cv_bridge is installed, without importing it."""
        return importlib.util.find_spec("cv_bridge") is not None

    def convert(self, frame: ImageFrame) -> ImageFrame:
        """Return the image as rgb8, in memory of its own.

        Raises:
            ImageDecodeError: cv_bridge does not know the encoding either, or is broken.
        """
        try:
            if self._bridge is None:
                self._bridge = importlib.import_module("cv_bridge").CvBridge()
            image = np.ascontiguousarray(self._bridge.imgmsg_to_cv2(_message(frame), desired_encoding="rgb8"))
        except Exception as error:  # cv_bridge raises errors of its own, of OpenCV, and of the import
            raise ImageDecodeError(f"cv_bridge could not convert encoding '{frame.encoding}': {error}") from error
        height, width = image.shape[:2]
        pixels = image.reshape(-1)
        return replace(
            frame, encoding="rgb8", height=height, width=width, step=width * 3, is_bigendian=False, data=pixels
        )


def _message(frame: ImageFrame) -> Image:
    message = Image(
        height=frame.height,
        width=frame.width,
        encoding=frame.encoding,
        is_bigendian=int(frame.is_bigendian),
        step=frame.step,
    )
    message.data.frombytes(frame.data.data)
    return message
