"""From received bytes to the network's input, and pixel coordinates back.

`decode` turns a frame into an 8-bit image, `Preprocessor` turns the image into a batch, `PixelTransform` says
where each pixel went.
"""

from gps_denied_inference.core.imaging.decoding import decode
from gps_denied_inference.core.imaging.encodings import ENCODINGS, Encoding
from gps_denied_inference.core.imaging.pixel_transform import PixelTransform, ResizeGeometry, resize_geometry
from gps_denied_inference.core.imaging.preprocessor import Preprocessor
from gps_denied_inference.core.imaging.resampling import RESAMPLERS, Resampler, choose_resampler
from gps_denied_inference.core.imaging.shared_decoder import Decoder, SharedDecoder

__all__ = [
    "ENCODINGS",
    "RESAMPLERS",
    "Decoder",
    "Encoding",
    "PixelTransform",
    "Preprocessor",
    "Resampler",
    "ResizeGeometry",
    "SharedDecoder",
    "choose_resampler",
    "decode",
    "resize_geometry",
]
