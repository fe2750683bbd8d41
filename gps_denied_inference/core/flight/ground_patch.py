"""The ground below a picture, cut out as a map tile shows it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.optional import require

__all__ = ["ground_patch"]


def ground_patch(
    image_rgb: NDArray[np.uint8], *, meters_per_pixel: float, yaw_deg: float, side_m: float, side_px: int
) -> NDArray[np.uint8]:
    """Turn a picture north-up about its centre and cut a square of ground out; mirrored where the picture ends.

    Args:
        image_rgb: (H, W, 3).
        meters_per_pixel: on the ground.
        yaw_deg: direction of the picture's top, clockwise from north, as it is believed to be.
        side_m: of the square on the ground.
        side_px: of the result.

    Returns:
        (side_px, side_px, 3).
    """
    cv2 = require("cv2", install="pip install 'opencv-python-headless<5'", purpose="cutting tiles")
    height, width = image_rgb.shape[:2]
    reduction = side_m / side_px / meters_per_pixel
    if reduction > 1:
        # As `Orthophoto.antialiased_for`: what is sampled coarser must be blurred as much.
        sigma = 0.5 * math.sqrt(reduction * reduction - 1)
        image_rgb = cv2.GaussianBlur(image_rgb, (0, 0), sigma) if sigma > 0.1 else image_rgb
    yaw = math.radians(yaw_deg)
    # What lies north of the centre is seen at -yaw from the picture's top: a step to the tile's right (east) is one of
    # (cos, -sin) in the picture, a step down (south) one of (sin, cos).
    east = reduction * np.array([math.cos(yaw), -math.sin(yaw)])
    south = reduction * np.array([math.sin(yaw), math.cos(yaw)])
    middle = (side_px - 1) / 2
    origin = np.array([(width - 1) / 2, (height - 1) / 2]) - middle * (east + south)
    picture_from_tile = np.column_stack((east, south, origin))
    patch: NDArray[np.uint8] = cv2.warpAffine(
        image_rgb,
        picture_from_tile,
        (side_px, side_px),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return patch
