"""What the diagnostics say of messages that other nodes send."""

from gps_denied_inference.core.contracts import DropReason
from gps_denied_inference.core.health import Level, MessageReading, message_status
from gps_denied_inference.core.pipeline import FrameCounts, LatencySummary

NOTHING = dict.fromkeys(DropReason, 0)
LATENCY = LatencySummary(0, 0.0, 0.0, 0.0, 0.0)


def test_messages_without_their_counterpart_are_told() -> None:
    def level_of(published: int, *, is_normal: bool = False) -> tuple[Level, str]:
        counts = FrameCounts(published + 3, published, {**NOTHING, DropReason.UNPAIRED: 3}, 0)
        reading = MessageReading("/local_features", 1, 0.1, True, counts, LATENCY, "")
        status = message_status(
            "matching", reading, window=counts, timeout_s=2.0, overload_warn_share=0.1, is_unpaired_normal=is_normal
        )
        assert status.values["dropped_unpaired"] == "3"
        return status.level, status.message

    some, none = level_of(5), level_of(0)
    assert (some[0], none[0]) == (Level.WARN, Level.ERROR)
    assert some[1] == none[1] and some[1].startswith("3 messages waited in vain") and "; check the node" in some[1]
    # Of images that are drawn only where something was found.
    assert level_of(5, is_normal=True) == (Level.OK, "5 of 8 messages answered")
    assert level_of(0, is_normal=True) == (Level.WARN, none[1])


def test_messages_that_needed_no_answer_are_no_failure() -> None:
    """All images of a good stretch need no refinement, and one had no candidates: nothing is wrong."""
    counts = FrameCounts(11, 0, {**NOTHING, DropReason.NOT_NEEDED: 10, DropReason.UNPAIRED: 1}, 0)
    reading = MessageReading("/place_candidates", 1, 0.1, True, counts, LATENCY, "")
    status = message_status(
        "refinement", reading, window=counts, timeout_s=2.0, overload_warn_share=0.1, is_unpaired_normal=True
    )
    assert (status.level, status.message) == (Level.OK, "0 of 11 messages answered, 10 needed none")
    assert status.values["dropped_not_needed"] == "10"
