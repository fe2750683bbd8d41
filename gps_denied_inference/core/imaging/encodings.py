"""The encodings of `sensor_msgs/Image` that we decode: one row each.

Conversions are named by OpenCV's codes, as cv_bridge (ros-perception/vision_opencv, `cv_bridge.cpp`) chooses
them, so that both give the same pixels. Two names are traps:

* OpenCV names a Bayer pattern by the second row's second and third pixels: ROS `bayer_rggb8` is OpenCV's
`BayerBG`.
* `yuv422` is UYVY, `yuv422_yuy2` is YUYV; both are deprecated spellings that drivers still send.

Gray from a YUV encoding is its luma as sent (limited range), again as cv_bridge does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from gps_denied_inference.core.contracts import ColorSpace
from gps_denied_inference.core.errors import UnsupportedEncodingError

__all__ = ["ENCODINGS", "ChromaLayout", "Encoding", "encoding_by_name"]


class ChromaLayout(Enum):
    """Where the colour of a pixel stands. The value says which sizes are possible, for messages."""

    PER_PIXEL = "any size"
    MOSAIC = "width and height of at least 3"
    PACKED_422 = "an even width"
    SEMIPLANAR_420 = "an even width and an even height"
    SEMIPLANAR_444 = "any size (semi-planar)"


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the bytes of one encoding are to be read.

    Attributes:
        name: as in `sensor_msgs/image_encodings.hpp`.
        sample_bytes: 1 or 2.
        samples_per_pixel: in one row (of the luma plane, for semi-planar layouts).
        rgb_code, gray_code: names of OpenCV's colour conversions; empty when the samples are that already.
        chroma: where the colour stands.
    """

    name: str
    sample_bytes: int
    samples_per_pixel: int
    rgb_code: str
    gray_code: str
    chroma: ChromaLayout = ChromaLayout.PER_PIXEL

    def conversion_code(self, color: ColorSpace) -> str:
        """Name of OpenCV's conversion to `color`; empty when there is nothing to convert."""
        return self.rgb_code if color is ColorSpace.RGB else self.gray_code

    def fits(self, height: int, width: int) -> bool:
        """Whether an image of this size can be stored in this encoding."""
        if self.chroma is ChromaLayout.PACKED_422:
            return width % 2 == 0
        if self.chroma is ChromaLayout.SEMIPLANAR_420:
            return width % 2 == 0 and height % 2 == 0
        if self.chroma is ChromaLayout.MOSAIC:
            return width >= 3 and height >= 3
        return True

    def row_count(self, height: int) -> int:
        """Rows of `step` bytes in an image of `height` pixels, chroma planes included."""
        if self.chroma is ChromaLayout.SEMIPLANAR_420:
            return height * 3 // 2
        if self.chroma is ChromaLayout.SEMIPLANAR_444:
            return height * 3
        return height


def _table(*rows: Encoding) -> Mapping[str, Encoding]:
    return MappingProxyType({row.name: row for row in rows})


_MOSAIC = ChromaLayout.MOSAIC
_PACKED = ChromaLayout.PACKED_422
_NV_420 = ChromaLayout.SEMIPLANAR_420
_NV_444 = ChromaLayout.SEMIPLANAR_444

ENCODINGS: Mapping[str, Encoding] = _table(
    Encoding("mono8", 1, 1, "COLOR_GRAY2RGB", ""),
    Encoding("mono16", 2, 1, "COLOR_GRAY2RGB", ""),
    Encoding("rgb8", 1, 3, "", "COLOR_RGB2GRAY"),
    Encoding("rgb16", 2, 3, "", "COLOR_RGB2GRAY"),
    Encoding("bgr8", 1, 3, "COLOR_BGR2RGB", "COLOR_BGR2GRAY"),
    Encoding("bgr16", 2, 3, "COLOR_BGR2RGB", "COLOR_BGR2GRAY"),
    Encoding("rgba8", 1, 4, "COLOR_RGBA2RGB", "COLOR_RGBA2GRAY"),
    Encoding("rgba16", 2, 4, "COLOR_RGBA2RGB", "COLOR_RGBA2GRAY"),
    Encoding("bgra8", 1, 4, "COLOR_BGRA2RGB", "COLOR_BGRA2GRAY"),
    Encoding("bgra16", 2, 4, "COLOR_BGRA2RGB", "COLOR_BGRA2GRAY"),
    # The generic types carry no colour: cv_bridge passes them through in OpenCV's channel order, which is
    # what senders that publish a bare cv::Mat mean.
    Encoding("8UC1", 1, 1, "COLOR_GRAY2RGB", ""),
    Encoding("8UC3", 1, 3, "COLOR_BGR2RGB", "COLOR_BGR2GRAY"),
    Encoding("8UC4", 1, 4, "COLOR_BGRA2RGB", "COLOR_BGRA2GRAY"),
    Encoding("16UC1", 2, 1, "COLOR_GRAY2RGB", ""),
    Encoding("16UC3", 2, 3, "COLOR_BGR2RGB", "COLOR_BGR2GRAY"),
    Encoding("16UC4", 2, 4, "COLOR_BGRA2RGB", "COLOR_BGRA2GRAY"),
    Encoding("bayer_rggb8", 1, 1, "COLOR_BayerBG2RGB", "COLOR_BayerBG2GRAY", _MOSAIC),
    Encoding("bayer_bggr8", 1, 1, "COLOR_BayerRG2RGB", "COLOR_BayerRG2GRAY", _MOSAIC),
    Encoding("bayer_gbrg8", 1, 1, "COLOR_BayerGR2RGB", "COLOR_BayerGR2GRAY", _MOSAIC),
    Encoding("bayer_grbg8", 1, 1, "COLOR_BayerGB2RGB", "COLOR_BayerGB2GRAY", _MOSAIC),
    Encoding("bayer_rggb16", 2, 1, "COLOR_BayerBG2RGB", "COLOR_BayerBG2GRAY", _MOSAIC),
    Encoding("bayer_bggr16", 2, 1, "COLOR_BayerRG2RGB", "COLOR_BayerRG2GRAY", _MOSAIC),
    Encoding("bayer_gbrg16", 2, 1, "COLOR_BayerGR2RGB", "COLOR_BayerGR2GRAY", _MOSAIC),
    Encoding("bayer_grbg16", 2, 1, "COLOR_BayerGB2RGB", "COLOR_BayerGB2GRAY", _MOSAIC),
    Encoding("uyvy", 1, 2, "COLOR_YUV2RGB_UYVY", "COLOR_YUV2GRAY_UYVY", _PACKED),
    Encoding("yuv422", 1, 2, "COLOR_YUV2RGB_UYVY", "COLOR_YUV2GRAY_UYVY", _PACKED),
    Encoding("yuyv", 1, 2, "COLOR_YUV2RGB_YUY2", "COLOR_YUV2GRAY_YUY2", _PACKED),
    Encoding("yuv422_yuy2", 1, 2, "COLOR_YUV2RGB_YUY2", "COLOR_YUV2GRAY_YUY2", _PACKED),
    Encoding("nv12", 1, 1, "COLOR_YUV2RGB_NV12", "COLOR_YUV2GRAY_NV12", _NV_420),
    Encoding("nv21", 1, 1, "COLOR_YUV2RGB_NV21", "COLOR_YUV2GRAY_NV21", _NV_420),
    # OpenCV has no NV24: the decoder repacks it as YUYV of twice the width, whose arithmetic is the same.
    Encoding("nv24", 1, 1, "COLOR_YUV2RGB_YUY2", "COLOR_YUV2GRAY_YUY2", _NV_444),
)


def encoding_by_name(name: str) -> Encoding:
    """Look up a row of the table.

    Raises:
        UnsupportedEncodingError: there is none; the message lists those that are.
    """
    try:
        return ENCODINGS[name]
    except KeyError:
        pass
    hint = "let the camera driver send one of these"
    if any(word in name.lower() for word in ("jpeg", "jpg", "png")):
        hint = "for compressed images set the node parameter 'image_transport' to 'compressed'"
    raise UnsupportedEncodingError(
        f"image encoding '{name}' is not one that can be decoded; known are {', '.join(ENCODINGS)}; {hint}"
    )
