"""What was found in an image, drawn over it, for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import Correspondences, LocalFeatures, Matches, PlaceRecognition
from gps_denied_inference.core.errors import ImageDecodeError
from gps_denied_inference.core.optional import require

__all__ = ["INLIER_RGB", "KEYPOINT_RGB", "OUTLIER_RGB", "OverlayContent", "draw_overlay"]

KEYPOINT_RGB = (255, 200, 0)
OUTLIER_RGB = (255, 40, 40)
INLIER_RGB = (40, 255, 40)
_TEXT_RGB = (255, 255, 255)
_MOST_CANDIDATES = 5
_LINE_PX = 18


@dataclass(frozen=True, slots=True, eq=False)
class OverlayContent:
    """What is known of an image; None for what is not.

    Attributes:
        features: of the image.
        matches: of the image's features (the first rows) with another's.
        is_inlier: bool, (M,), for each match.
        places: candidates.
        points: pairs of points of the image with another's, which a network found in the images themselves.
        is_inlier_point: bool, (M,), for each of these pairs.
    """

    features: LocalFeatures | None = None
    matches: Matches | None = None
    is_inlier: NDArray[np.bool_] | None = None
    places: PlaceRecognition | None = None
    points: Correspondences | None = None
    is_inlier_point: NDArray[np.bool_] | None = None


def draw_overlay(
    image_rgb: NDArray[np.uint8], content: OverlayContent, *, max_width_px: int, jpeg_quality: int
) -> NDArray[np.uint8]:
    """Draw keypoints (circles), matched points (squares), counts and the best candidates.

    Keypoints are yellow; what was matched is red, inliers are green.

    Args:
        image_rgb: (H, W, 3); not changed.
        content: what to draw.
        max_width_px: a wider image is made smaller first.
        jpeg_quality: 1..100.

    Returns:
        The JPEG file, uint8, shape (N,).

    Raises:
        ImageDecodeError: OpenCV cannot encode it.
        RuntimeNotAvailableError: OpenCV is absent.
    """
    cv2 = require("cv2", install="pip install 'opencv-python-headless<5'", purpose="the debug overlay")
    height, width = image_rgb.shape[:2]
    scale = min(1.0, max_width_px / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas = cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA) if scale < 1.0 else image_rgb.copy()
    if content.points is not None and content.is_inlier_point is not None:
        # Below the circles, and filled: JPEG halves the resolution of colours.
        for (x, y), is_inlier in zip(
            _on_canvas(content.points.first_px, scale), content.is_inlier_point.tolist(), strict=True
        ):
            color = INLIER_RGB if is_inlier else OUTLIER_RGB
            cv2.rectangle(canvas, (x - 2, y - 2), (x + 2, y + 2), color, cv2.FILLED)
    if content.features is not None:
        points = _on_canvas(content.features.keypoints_px, scale)
        for point, color in zip(points, _colors(content, len(points)), strict=True):
            cv2.circle(canvas, point, 3, color, 1, cv2.LINE_AA)
    for number, line in enumerate(_lines(content), 1):
        for color, thickness in (((0, 0, 0), 3), (_TEXT_RGB, 1)):  # readable over any ground
            cv2.putText(
                canvas, line, (6, _LINE_PX * number), cv2.FONT_HERSHEY_SIMPLEX, 0.5, color, thickness, cv2.LINE_AA
            )
    is_encoded, data = cv2.imencode(".jpg", canvas[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])
    if not is_encoded:
        raise ImageDecodeError(
            f"an overlay of {size[0]}x{size[1]} pixels cannot be encoded as JPEG; lower max_width_px"
        )
    return np.asarray(data, np.uint8).reshape(-1)


def _on_canvas(points_px: NDArray[np.float32], scale: float) -> list[tuple[int, int]]:
    """Where points of the image lie once it is made smaller: pixel centres are at integers, before and after."""
    return [(x, y) for x, y in np.rint((points_px + 0.5) * scale - 0.5).astype(int).tolist()]


def _colors(content: OverlayContent, count: int) -> Sequence[tuple[int, int, int]]:
    colors = [KEYPOINT_RGB] * count
    if content.matches is not None and content.is_inlier is not None:
        for row, is_inlier in zip(content.matches.indices[:, 0].tolist(), content.is_inlier.tolist(), strict=True):
            if row < count:
                colors[row] = INLIER_RGB if is_inlier else OUTLIER_RGB
    return colors


def _lines(content: OverlayContent) -> list[str]:
    lines = []
    if content.features is not None:
        text = f"{content.features.count} keypoints"
        if content.matches is not None and content.is_inlier is not None:
            text += f", {content.matches.count} matches, {int(np.count_nonzero(content.is_inlier))} inliers"
        lines.append(text)
    if content.points is not None and content.is_inlier_point is not None:
        lines.append(f"{content.points.count} points matched, {int(np.count_nonzero(content.is_inlier_point))} inliers")
    if content.places is not None:
        for rank, candidate in enumerate(content.places.candidates[:_MOST_CANDIDATES], 1):
            lines.append(
                f"{rank}. tile {candidate.tile} {candidate.similarity:.3f}  {candidate.x_m:.0f} {candidate.y_m:.0f} m "
                f"{candidate.heading_deg:.0f} deg"
            )
    return lines
