"""Images wait for what belongs to them, and each goes out once."""

from __future__ import annotations

import itertools

import pytest

from gps_denied_inference.core.refinement import ReadyImage, RefinementPairs


class Judge:
    is_there = True

    def __call__(self) -> bool:
        return self.is_there


READY = ReadyImage("image 7", "places 7", 70)


@pytest.mark.parametrize("order", itertools.permutations(("image", "places", "inliers")), ids="-".join)
@pytest.mark.parametrize(("inliers", "is_refined"), [(0, True), (19, True), (20, False), (400, False)])
def test_image_with_few_inliers_is_refined_in_whatever_order_its_parts_come(
    order: tuple[str, ...], inliers: int, is_refined: bool
) -> None:
    pairs: RefinementPairs[str, str] = RefinementPairs(4, 20, Judge())
    offers = {
        "image": lambda: pairs.offer_image(7, "image 7", 70),
        "places": lambda: pairs.offer_places(7, "places 7"),
        "inliers": lambda: pairs.offer_inliers(7, inliers),
    }
    results = [offers[part]() for part in order]
    assert results == [None, None, READY if is_refined else None]
    assert (pairs.take_not_needed(), pairs.take_not_needed()) == (int(not is_refined), 0)
    assert (pairs.waiting_count, pairs.take_let_go()) == (0, 0)


def test_without_a_bound_or_while_nobody_judges_every_image_with_candidates_is_refined() -> None:
    judge = Judge()
    always: RefinementPairs[str, str] = RefinementPairs(4, 0, judge)
    always.offer_inliers(7, 400)
    assert always.offer_image(7, "image 7", 70) is None
    assert always.offer_places(7, "places 7") == READY
    judge.is_there = False
    alone: RefinementPairs[str, str] = RefinementPairs(4, 20, judge)
    alone.offer_places(7, "places 7")
    assert alone.offer_image(7, "image 7", 70) == READY
    judge.is_there = True
    alone.offer_places(8, "places 8")
    assert alone.offer_image(8, "image 8", 80) is None and alone.waiting_count == 1


def test_images_that_wait_in_vain_are_let_go_once() -> None:
    pairs: RefinementPairs[str, str] = RefinementPairs(2, 20, Judge())
    for stamp in range(4):  # wait for their candidates
        pairs.offer_image(stamp, f"image {stamp}", 10 * stamp)
    assert (pairs.waiting_count, pairs.take_let_go()) == (2, 2)
    for stamp in (2, 3):  # now for their inliers
        assert pairs.offer_places(stamp, f"places {stamp}") is None
    assert (pairs.waiting_count, pairs.take_let_go()) == (2, 0)
    pairs.let_go_before(30)
    assert (pairs.waiting_count, pairs.take_let_go()) == (1, 1)
    assert pairs.offer_inliers(2, 0) is None, "let go"
    assert pairs.offer_inliers(3, 0) == ReadyImage("image 3", "places 3", 30)
    pairs.offer_image(5, "image 5", 50)
    pairs.offer_image(6, "image 6", 60)
    pairs.offer_places(6, "places 6")
    assert (pairs.clear(), pairs.waiting_count, pairs.take_let_go()) == (2, 0, 0)
    assert pairs.offer_places(5, "places 5") is None, "forgotten"
