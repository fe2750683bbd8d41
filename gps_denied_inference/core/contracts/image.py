"""Images on their way from the camera to the network."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

__all__ = ["ColorSpace", "CompressedFrame", "Frame", "ImageFrame", "PreprocessSpec", "ResizeMode"]


@dataclass(frozen=True, slots=True, eq=False)
class ImageFrame:
    """An uncompressed image as it was received, not yet decoded (the fields of `sensor_msgs/Image`).

    Attributes:
        stamp_ns: acquisition time, nanoseconds of the sender's clock; copied verbatim to the output.
        frame_id: coordinate frame of the camera; copied verbatim to the output.
        encoding: a name from `sensor_msgs/image_encodings.hpp`, e.g. `rgb8`, `bayer_rggb8`, `nv12`.
        height, width: pixels.
        step: bytes of one row, padding included.
        is_bigendian: byte order of 16-bit samples.
        data: uint8, shape (N,), N >= step * height (`nv12`: step * height * 3 / 2). A view: whoever made the frame owns
            the bytes and must not change them until the frame has been processed.
    """

    stamp_ns: int
    frame_id: str
    encoding: str
    height: int
    width: int
    step: int
    is_bigendian: bool
    data: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class CompressedFrame:
    """A compressed image as it was received (the fields of `sensor_msgs/CompressedImage`).

    Attributes:
        stamp_ns, frame_id: as in `ImageFrame`.
        format: what the sender says, e.g. `jpeg`, `png`, `rgb8; jpeg compressed bgr8`.
        data: uint8, shape (N,); a view, as in `ImageFrame`.
    """

    stamp_ns: int
    frame_id: str
    format: str
    data: NDArray[np.uint8]


Frame = ImageFrame | CompressedFrame


class ColorSpace(Enum):
    """Channels that a network takes."""

    RGB = "rgb"
    GRAY = "gray"

    @property
    def channels(self) -> int:
        return 3 if self is ColorSpace.RGB else 1


class ResizeMode(Enum):
    """How an image of another aspect ratio is brought to the network's size."""

    STRETCH = "stretch"
    LETTERBOX = "letterbox"
    CROP = "crop"


@dataclass(frozen=True, slots=True)
class PreprocessSpec:
    """What happens between the decoded image and the network's input.

    The network sees `(pixel - mean) / std`, pixel in 0..255, per channel, planar, float32, shape (1, C, height, width).

    Attributes:
        height, width: of the network's input, pixels.
        color: channels of the network's input.
        mean, std: one value per channel, in units of 0..255.
        resize_mode: how the aspect ratio is treated; resampling is bilinear and antialiased.
        pad_value: 0..255, fills the border in letterbox mode.
    """

    height: int
    width: int
    color: ColorSpace
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize_mode: ResizeMode = ResizeMode.STRETCH
    pad_value: int = 0

    @property
    def sha256(self) -> str:
        """Hash of every field (lower-case hex): two specs with equal hashes preprocess alike."""
        fields = asdict(self) | {"color": self.color.value, "resize_mode": self.resize_mode.value}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
