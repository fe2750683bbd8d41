"""Decodes a frame once for all engines that work on it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import ColorSpace, Frame
from gps_denied_inference.core.imaging.decoding import decode

__all__ = ["Decoder", "SharedDecoder"]

Decoder = Callable[[Frame, ColorSpace], NDArray[np.uint8]]
"""`decode`, or what gives the same."""

_FRAMES = 2
"""The newest one, and the one before it, on which a slower engine may still be."""


class SharedDecoder:
    """`decode`, with the last frames' images kept: whoever asks for the same frame again gets the same array.

    A frame is known by its identity, so it must stay unchanged as long as it is in use. For each colour space the bytes
    are decoded anew: the gray of a JPEG is its stored luma, not a mixture of its red, green and blue. From any thread;
    who asks for a frame that another thread is decoding waits for that.

    Args:
        decoder: does the work.
    """

    def __init__(self, decoder: Decoder = decode) -> None:
        self._decode = decoder
        self._lock = threading.Lock()
        self._frames: OrderedDict[int, tuple[Frame, dict[ColorSpace, NDArray[np.uint8]]]] = OrderedDict()

    def __call__(self, frame: Frame, color: ColorSpace) -> NDArray[np.uint8]:
        """See `decode`. The array is read-only, as several read it."""
        with self._lock:
            # The frame itself is kept beside its images: while it is, no other object has its identity.
            _, images = self._frames.setdefault(id(frame), (frame, {}))
            while len(self._frames) > _FRAMES:
                self._frames.popitem(last=False)
            if color not in images:
                image_hwc = self._decode(frame, color)
                image_hwc.flags.writeable = False
                images[color] = image_hwc
            return images[color]

    def forget(self) -> None:
        """Let go of the frames."""
        with self._lock:
            self._frames.clear()
