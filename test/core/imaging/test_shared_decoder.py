import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from gps_denied_inference.core.contracts import ColorSpace, Frame, ImageFrame
from gps_denied_inference.core.errors import ImageDecodeError
from gps_denied_inference.core.imaging import SharedDecoder, decode


def _frame(encoding: str = "bgr8", seed: int = 0) -> ImageFrame:
    data = np.random.default_rng(seed).integers(0, 256, 6 * 8 * 3, np.uint8)
    return ImageFrame(seed, "camera", encoding, 6, 8, 24, False, data)


class CountingDecoder:
    def __init__(self) -> None:
        self.calls: list[tuple[int, ColorSpace]] = []
        self._lock = threading.Lock()

    def __call__(self, frame: Frame, color: ColorSpace) -> NDArray[np.uint8]:
        with self._lock:
            self.calls.append((frame.stamp_ns, color))
        return decode(frame, color)


def test_many_threads_get_one_array_of_a_frame_equal_to_what_decode_gives() -> None:
    counting, frame = CountingDecoder(), _frame()
    decoder = SharedDecoder(counting)
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(lambda _: decoder(frame, ColorSpace.RGB), range(32)))
    assert counting.calls == [(0, ColorSpace.RGB)]
    assert all(image is images[0] for image in images)
    np.testing.assert_array_equal(images[0], decode(frame, ColorSpace.RGB))
    assert not images[0].flags.writeable


def test_each_colour_space_and_each_frame_is_decoded_for_itself() -> None:
    counting = CountingDecoder()
    decoder = SharedDecoder(counting)
    first, equal = _frame(), _frame()
    for _ in range(2):
        for frame in (first, equal):
            for color in ColorSpace:
                np.testing.assert_array_equal(decoder(frame, color), decode(frame, color))
    assert len(counting.calls) == 2 * len(ColorSpace)


def test_only_the_last_frames_are_kept_and_none_after_forget() -> None:
    counting = CountingDecoder()
    decoder = SharedDecoder(counting)
    frames = [_frame(seed=seed) for seed in range(3)]
    for frame in frames:
        decoder(frame, ColorSpace.RGB)
    decoder(frames[1], ColorSpace.RGB)
    assert len(counting.calls) == 3
    decoder(frames[0], ColorSpace.RGB)
    assert len(counting.calls) == 4
    decoder.forget()
    decoder(frames[0], ColorSpace.RGB)
    assert len(counting.calls) == 5


def test_frame_that_cannot_be_decoded_says_so_to_each_engine() -> None:
    decoder, frame = SharedDecoder(), _frame("rainbow9")
    for _ in range(2):
        with pytest.raises(ImageDecodeError, match="rainbow9"):
            decoder(frame, ColorSpace.RGB)
