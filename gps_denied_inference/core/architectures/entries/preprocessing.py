"""How images are brought to the networks of this package."""

from __future__ import annotations

from gps_denied_inference.core.contracts import ColorSpace, PreprocessSpec

__all__ = ["gray_unit_range", "imagenet_normalized", "rgb_unit_range"]

# Means and standard deviations of ImageNet's training images, as torchvision gives them, in units of 0..255.
_IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
_IMAGENET_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)


def rgb_unit_range(height: int, width: int) -> PreprocessSpec:
    """RGB, 0..1."""
    return PreprocessSpec(height, width, ColorSpace.RGB, mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0))


def gray_unit_range(height: int, width: int) -> PreprocessSpec:
    """Gray, 0..1."""
    return PreprocessSpec(height, width, ColorSpace.GRAY, mean=(0.0,), std=(255.0,))


def imagenet_normalized(height: int, width: int) -> PreprocessSpec:
    """RGB, each channel with ImageNet's mean and standard deviation taken out."""
    return PreprocessSpec(height, width, ColorSpace.RGB, mean=_IMAGENET_MEAN, std=_IMAGENET_STD)
