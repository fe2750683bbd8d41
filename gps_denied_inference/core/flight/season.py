"""The colours of other seasons, put over a summer picture."""

from __future__ import annotations

from enum import Enum

import numpy as np
from numpy.typing import NDArray

__all__ = ["Season", "recolor"]

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_DRY = np.array([1.28, 0.96, 0.62], np.float32)  # the tint of dry grass and autumn leaves, of luma about 1


class Season(Enum):
    """What a picture of vegetation in leaf is turned into."""

    SUMMER = "summer"
    AUTUMN = "autumn"
    WINTER = "winter"


def recolor(image_rgb: NDArray[np.uint8], season: Season) -> NDArray[np.uint8]:
    """Change the colours as a season does; shapes and shadows stay where they are.

    Autumn turns what is green to the tint of dry leaves, at equal brightness. Winter takes most of the colour and lays
    snow on the ground that lies in the light; crowns and shadows stay dark.

    Args:
        image_rgb: (H, W, 3).
        season: summer gives the picture itself.

    Returns:
        (H, W, 3), a new array but for summer.
    """
    if season is Season.SUMMER:
        return image_rgb
    light = image_rgb.astype(np.float32) / 255
    luma = (light @ _LUMA)[..., np.newaxis]
    if season is Season.AUTUMN:
        excess_green = 2 * light[..., 1:2] - light[..., 0:1] - light[..., 2:3]
        share = np.clip(6 * excess_green, 0, 1)
        changed = (1 - share) * light + share * luma * _DRY
    else:
        gray = luma + 0.25 * (light - luma)
        snow = np.clip((luma - 0.30) / 0.15, 0, 1)
        changed = (1 - 0.85 * snow) * gray + 0.85 * snow * np.array([0.90, 0.93, 0.97], np.float32)
    return np.asarray(np.clip(changed * 255 + 0.5, 0, 255), np.uint8)
