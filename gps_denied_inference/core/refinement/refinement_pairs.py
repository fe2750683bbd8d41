"""Images, their candidates and how well they were matched already, brought together by stamp."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from gps_denied_inference.core.pipeline import StampPairs

__all__ = ["ReadyImage", "RefinementPairs"]

_Image = TypeVar("_Image")
_Places = TypeVar("_Places")


@dataclass(frozen=True, slots=True)
class ReadyImage(Generic[_Image, _Places]):
    """An image that is to be refined, its candidates, and when it came (steady clock, nanoseconds)."""

    image: _Image
    places: _Places
    received_ns: int


class RefinementPairs(Generic[_Image, _Places]):
    """Holds images until it is known whether they need refinement. Each goes out once: ready, not needed or let go.

    Use from one thread at a time.

    Args:
        most: images that wait for their candidates, and as many that wait for their inliers; the oldest give way.
        enough_inliers: with as many an image needs no refinement; 0: every one with candidates is refined.
        is_judged: somebody tells inliers; asked for each image that has its candidates. While nobody does, every one
            is refined.
    """

    def __init__(self, most: int, enough_inliers: int = 0, is_judged: Callable[[], bool] = lambda: False) -> None:
        self._enough_inliers = enough_inliers
        self._is_judged = is_judged
        self._unplaced: StampPairs[_Image, _Places] = StampPairs(most)
        self._unjudged: StampPairs[ReadyImage[_Image, _Places], int] = StampPairs(most)
        self._not_needed = 0

    def offer_image(self, stamp_ns: int, image: _Image, received_ns: int) -> ReadyImage[_Image, _Places] | None:
        """Hold an image; returns it when it is to be refined now."""
        places = self._unplaced.offer_first(stamp_ns, image, received_ns)
        return None if places is None else self._placed(stamp_ns, ReadyImage(image, places, received_ns))

    def offer_places(self, stamp_ns: int, places: _Places) -> ReadyImage[_Image, _Places] | None:
        """Hold the candidates of an image; returns it when it is to be refined now."""
        waiting = self._unplaced.offer_second(stamp_ns, places)
        return (
            None if waiting is None else self._placed(stamp_ns, ReadyImage(waiting.item, places, waiting.received_ns))
        )

    def offer_inliers(self, stamp_ns: int, count: int) -> ReadyImage[_Image, _Places] | None:
        """Hold how well an image was matched; returns it when it is to be refined now."""
        waiting = self._unjudged.offer_second(stamp_ns, count)
        return None if waiting is None else self._judged(waiting.item, count)

    @property
    def waiting_count(self) -> int:
        """How many images wait."""
        return self._unplaced.waiting_count + self._unjudged.waiting_count

    def let_go_before(self, oldest_ns: int) -> None:
        """Let go images that came before this time of the steady clock."""
        self._unplaced.let_go_before(oldest_ns)
        self._unjudged.let_go_before(oldest_ns)

    def take_let_go(self) -> int:
        """Return how many images were let go since the last call."""
        return self._unplaced.take_let_go() + self._unjudged.take_let_go()

    def take_not_needed(self) -> int:
        """Return how many images needed no refinement since the last call."""
        count, self._not_needed = self._not_needed, 0
        return count

    def clear(self) -> int:
        """Forget everything; returns how many images waited."""
        return self._unplaced.clear() + self._unjudged.clear()

    def _placed(self, stamp_ns: int, ready: ReadyImage[_Image, _Places]) -> ReadyImage[_Image, _Places] | None:
        if not self._enough_inliers or not self._is_judged():
            return ready
        count = self._unjudged.offer_first(stamp_ns, ready, ready.received_ns)
        return None if count is None else self._judged(ready, count)

    def _judged(self, ready: ReadyImage[_Image, _Places], count: int) -> ReadyImage[_Image, _Places] | None:
        if count < self._enough_inliers:
            return ready
        self._not_needed += 1
        return None
