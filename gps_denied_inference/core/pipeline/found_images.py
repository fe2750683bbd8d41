"""Images, and what was found in them, brought together by stamp."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

__all__ = ["FoundImage", "FoundImages"]

_Image = TypeVar("_Image")
_Finding = TypeVar("_Finding")


@dataclass(slots=True, eq=False)
class FoundImage(Generic[_Image, _Finding]):
    """An image, and what was found in it so far.

    Attributes:
        image: None until it comes.
        found: by where it came from; grows while the image is worked on.
        is_handed_over: to a worker, which counts it from then on.
        is_taken: the work on it has begun, so that what is found later asks for the work again.
    """

    image: _Image | None = None
    found: dict[Hashable, _Finding] = field(default_factory=dict)
    is_handed_over: bool = False
    is_taken: bool = False

    @property
    def is_ready(self) -> bool:
        return self.image is not None and bool(self.found)

    @property
    def is_waiting(self) -> bool:
        """Whether the image came and nobody else counts it."""
        return self.image is not None and not self.is_handed_over


class FoundImages(Generic[_Image, _Finding]):
    """Holds the newest images. Each goes out once: handed over or let go. Use from one thread at a time.

    Args:
        most: that are held; the oldest give way.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: OrderedDict[int, FoundImage[_Image, _Finding]] = OrderedDict()
        self._let_go = 0

    def add_image(self, stamp_ns: int, image: _Image) -> FoundImage[_Image, _Finding]:
        """Hold an image, with what was found in it before. Another image of this stamp is let go."""
        held = self._of(stamp_ns)
        if held.image is not None:
            self._let_go += held.is_waiting
            held = self._held[stamp_ns] = FoundImage(found=dict(held.found))
        held.image = image
        return held

    def add_finding(self, stamp_ns: int, origin: Hashable, finding: _Finding) -> FoundImage[_Image, _Finding]:
        """Hold what was found in an image, which may not have come yet."""
        held = self._of(stamp_ns)
        held.found[origin] = finding
        return held

    @property
    def waiting_count(self) -> int:
        """How many images wait for the first thing to be found in them."""
        return sum(held.is_waiting for held in self._held.values())

    def take_let_go(self) -> int:
        """Return how many images were let go since the last call."""
        count, self._let_go = self._let_go, 0
        return count

    def clear(self) -> int:
        """Forget everything; returns how many images waited."""
        count = self.waiting_count
        self._held.clear()
        return count

    def _of(self, stamp_ns: int) -> FoundImage[_Image, _Finding]:
        held = self._held.setdefault(stamp_ns, FoundImage())
        while len(self._held) > self._most:
            _, oldest = self._held.popitem(last=False)
            self._let_go += oldest.is_waiting
        return held
