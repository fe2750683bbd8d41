"""What was found in an image comes to it in any order, and each image is counted once."""

from gps_denied_inference.core.pipeline import FoundImages


def test_image_and_findings_come_together_in_any_order() -> None:
    images: FoundImages[str, str] = FoundImages(4)
    assert not images.add_finding(1, "points", "a").is_ready
    first = images.add_image(1, "image")
    assert first.is_ready and first.found == {"points": "a"}
    assert not images.add_image(2, "image").is_ready and images.waiting_count == 2
    assert images.add_finding(2, "points", "b").is_ready
    assert images.add_finding(2, "matches", "c").found == {"points": "b", "matches": "c"}


def test_image_that_was_handed_over_waits_no_more_and_is_not_let_go() -> None:
    images: FoundImages[str, str] = FoundImages(2)
    images.add_image(1, "image").is_handed_over = True
    assert images.waiting_count == 0
    for stamp in (2, 3, 4):
        images.add_image(stamp, "image")
    assert images.waiting_count == 2 and images.take_let_go() == 1
    assert images.take_let_go() == 0
    assert images.clear() == 2 and images.waiting_count == 0


def test_findings_whose_image_never_comes_are_no_images() -> None:
    images: FoundImages[str, str] = FoundImages(2)
    for stamp in range(5):
        images.add_finding(stamp, "points", "a")
    assert (images.waiting_count, images.take_let_go(), images.clear()) == (0, 0, 0)


def test_second_image_of_a_stamp_is_another_one() -> None:
    images: FoundImages[str, str] = FoundImages(2)
    first = images.add_image(1, "first")
    second = images.add_image(1, "second")
    assert second is not first and second.image == "second"
    assert (images.waiting_count, images.take_let_go()) == (1, 1)
    images.add_finding(1, "points", "a").is_handed_over = True
    third = images.add_image(1, "third")
    assert third.is_ready and not third.is_handed_over and images.take_let_go() == 0
