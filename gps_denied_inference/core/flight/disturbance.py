"""What light, air, optics, motion, sensor and link do to an image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.optional import require

__all__ = ["Disturbance", "disturb", "disturbance_at"]


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Disturbances of one image, applied in this order.

    Attributes:
        gamma: exponent on intensities in 0..1; above 1 darkens.
        gain: red, green, blue factors (exposure and colour cast).
        vignetting: loss of light in the corners, 0..1.
        haze: share of white veil, 0..1.
        motion_blur_px: length of the smear along the flight direction, 1 is none.
        read_noise, shot_noise: standard deviation in 0..1 is sqrt(read_noise^2 + shot_noise * intensity).
        jpeg_quality: 1..100.
    """

    gamma: float
    gain: tuple[float, float, float]
    vignetting: float
    haze: float
    motion_blur_px: int
    read_noise: float
    shot_noise: float
    jpeg_quality: int


def disturbance_at(time_s: float, generator: np.random.Generator) -> Disturbance:
    """Return what happens at a moment of the flight: slow swings of light, random blur and compression.

    The strengths were chosen by measurement: under them the network with random weights loses five of six places, the
    trained one none (docs/measurements).
    """
    exposure = 1 + 0.28 * math.sin(2 * math.pi * time_s / 11 + 1)
    warmth = math.sin(time_s / 3)
    cast = (1 + 0.14 * warmth, 1 + 0.04 * math.sin(time_s / 2), 1 - 0.14 * warmth)
    return Disturbance(
        gamma=math.exp(0.36 * math.sin(2 * math.pi * time_s / 7.3)),
        gain=(exposure * cast[0], exposure * cast[1], exposure * cast[2]),
        vignetting=0.36,
        haze=0.14 + 0.10 * math.sin(time_s / 4),
        motion_blur_px=1 + int(generator.integers(0, 8)),
        read_noise=0.025,
        shot_noise=0.0025,
        jpeg_quality=int(generator.integers(30, 61)),
    )


def disturb(image_rgb: NDArray[np.uint8], disturbance: Disturbance, generator: np.random.Generator) -> bytes:
    """Apply the disturbances and compress.

    Args:
        image_rgb: shape (H, W, 3).
        disturbance: what to apply.
        generator: source of the noise.

    Returns:
        a JPEG file.
    """
    cv2 = require("cv2", install="pip install 'opencv-python-headless<5'", purpose="the virtual camera")
    intensity_of = ((np.arange(256, dtype=np.float32) / 255) ** np.float32(disturbance.gamma)).astype(np.float32)
    light = intensity_of[image_rgb] * np.asarray(disturbance.gain, np.float32)
    light *= (1 - disturbance.vignetting * _squared_radius(image_rgb.shape[0], image_rgb.shape[1]))[:, :, None]
    light *= np.float32(1 - disturbance.haze)
    light += np.float32(0.8 * disturbance.haze)
    if disturbance.motion_blur_px > 1:
        length = disturbance.motion_blur_px
        light = cv2.blur(light, (1, length))
    np.clip(light, 0, 1, out=light)
    deviation = np.sqrt(np.float32(disturbance.read_noise**2) + np.float32(disturbance.shot_noise) * light)
    light += generator.standard_normal(light.shape, dtype=np.float32) * deviation
    np.clip(light, 0, 1, out=light)
    pixels_bgr = np.ascontiguousarray((light[:, :, ::-1] * 255 + np.float32(0.5)).astype(np.uint8))
    _, encoded = cv2.imencode(".jpg", pixels_bgr, [cv2.IMWRITE_JPEG_QUALITY, disturbance.jpeg_quality])
    return bytes(encoded)


def _squared_radius(height: int, width: int) -> NDArray[np.float32]:
    """Squared distance from the centre, 1 in the corners, shape (H, W)."""
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * height
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :] * width
    return np.asarray((x * x + y * y) / np.float32(height * height + width * width), np.float32)
