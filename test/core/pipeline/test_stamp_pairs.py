"""Messages of one image find each other, in either order, and what waits in vain is counted once."""

from gps_denied_inference.core.pipeline import StampPairs, WaitingItem


def test_counterparts_meet_whichever_comes_first() -> None:
    pairs: StampPairs[str, str] = StampPairs(4)
    assert pairs.offer_first(1, "features 1", 10) is None
    assert pairs.offer_second(1, "places 1") == WaitingItem("features 1", 10)
    assert pairs.offer_second(2, "places 2") is None
    assert pairs.offer_first(2, "features 2", 20) == "places 2"
    assert pairs.offer_first(3, "features 3", 30) is None, "never the counterpart of another stamp"
    assert pairs.take_let_go() == 0 and pairs.clear() == 1


def test_an_image_that_is_asked_about_again_meets_what_is_known_of_it() -> None:
    pairs: StampPairs[str, str] = StampPairs(4)
    pairs.offer_second(1, "places")
    assert [pairs.offer_first(1, "features", 10), pairs.offer_first(1, "features again", 20)] == ["places", "places"]
    pairs.offer_second(1, "places anew")
    assert pairs.offer_first(1, "features", 30) == "places anew"


def test_the_oldest_give_way_and_are_counted() -> None:
    pairs: StampPairs[int, int] = StampPairs(3)
    for stamp in range(5):
        assert pairs.offer_first(stamp, stamp, stamp) is None
    assert pairs.take_let_go() == 2 and pairs.take_let_go() == 0
    assert pairs.offer_second(1, 1) is None and pairs.offer_second(2, 2) == WaitingItem(2, 2)
    pairs.offer_first(4, 44, 50)
    assert pairs.take_let_go() == 1, "of two with one stamp the newer waits"
    assert pairs.offer_second(4, 4) == WaitingItem(44, 50)
    for stamp in range(10, 14):
        pairs.offer_second(stamp, stamp)
    assert pairs.offer_first(10, 10, 60) is None and pairs.offer_first(11, 11, 60) == 11
    assert pairs.clear() == 2 and pairs.take_let_go() == 0, "3 and 10"


def test_what_waited_too_long_is_let_go() -> None:
    pairs: StampPairs[str, str] = StampPairs(8)
    for stamp in range(4):
        pairs.offer_first(stamp, "features", 100 + stamp)
    pairs.let_go_before(102)
    assert pairs.take_let_go() == 2
    assert pairs.offer_second(1, "places") is None and pairs.offer_second(2, "places") == WaitingItem("features", 102)
    assert pairs.clear() == 1
