"""A pinhole camera over flat ground."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.flight.orthophoto import Orthophoto
from gps_denied_inference.core.flight.pose import CameraPose
from gps_denied_inference.core.optional import require

__all__ = ["NadirCamera", "orthophoto_span_m"]


@dataclass(frozen=True, slots=True)
class NadirCamera:
    """A pinhole camera without distortion; the principal point is the centre of the image.

    Attributes:
        width_px, height_px: of the image.
        horizontal_fov_deg: angle between the left and the right edge, degrees.
    """

    width_px: int
    height_px: int
    horizontal_fov_deg: float = 60.0

    @property
    def focal_px(self) -> float:
        return 0.5 * self.width_px / math.tan(math.radians(self.horizontal_fov_deg) / 2)

    def footprint_m(self, height_m: float) -> tuple[float, float]:
        """Return width and height of the ground that a level camera sees from `height_m`, metres."""
        return self.width_px * height_m / self.focal_px, self.height_px * height_m / self.focal_px

    def image_from_ground(self, pose: CameraPose) -> NDArray[np.float64]:
        """Return the homography (3, 3) from the map frame (x, y, metres, ground at z = 0) to image pixels."""
        calibration = np.array(
            [
                [self.focal_px, 0.0, (self.width_px - 1) / 2],
                [0.0, self.focal_px, (self.height_px - 1) / 2],
                [0.0, 0.0, 1.0],
            ]
        )
        center = np.array([pose.x_m, pose.y_m, pose.height_m])
        ground_plane = np.column_stack([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], -center])
        return np.asarray(calibration @ pose.map_from_optical().T @ ground_plane)

    def render(self, orthophoto: Orthophoto, pose: CameraPose) -> NDArray[np.uint8]:
        """Return what the camera sees, RGB, shape (height_px, width_px, 3); mirrored where the orthophoto ends."""
        cv2 = require("cv2", install="pip install 'opencv-python-headless<5'", purpose="the virtual camera")
        reduction = pose.height_m / self.focal_px / orthophoto.meters_per_pixel
        image: NDArray[np.uint8] = cv2.warpPerspective(
            orthophoto.antialiased_for(reduction),
            self.image_from_ground(pose) @ orthophoto.ground_from_pixel(),
            (self.width_px, self.height_px),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        return image


def orthophoto_span_m(orthophoto: Orthophoto, margin_m: float) -> tuple[float, float, float, float]:
    """Return (x_min, x_max, y_min, y_max) of the orthophoto less a margin on every side, metres."""
    return margin_m, orthophoto.width_m - margin_m, margin_m, orthophoto.height_m - margin_m
