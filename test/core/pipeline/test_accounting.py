import pytest
from hypothesis import given
from hypothesis import strategies as st

from gps_denied_inference.core.contracts import DropReason
from gps_denied_inference.core.pipeline import FrameLedger


def test_every_frame_is_received_then_published_or_dropped() -> None:
    ledger = FrameLedger()
    for _ in range(3):
        ledger.receive()
    ledger.publish()
    ledger.drop(DropReason.STALE)
    counts = ledger.counts()
    assert (counts.received, counts.published, counts.dropped_total, counts.pending) == (3, 1, 1, 1)
    assert counts.dropped[DropReason.STALE] == 1
    assert set(counts.dropped) == set(DropReason)


def test_drops_since_last_are_handed_out_once() -> None:
    ledger = FrameLedger()
    ledger.receive()
    ledger.drop(DropReason.OVERWRITTEN)
    assert ledger.take_dropped_since_last() == {DropReason.OVERWRITTEN: 1}
    assert ledger.take_dropped_since_last() == {}
    assert ledger.counts().dropped[DropReason.OVERWRITTEN] == 1


def test_drops_of_a_message_that_was_not_sent_stand_in_the_next() -> None:
    ledger = FrameLedger()
    for _ in range(2):
        ledger.receive()
        ledger.drop(DropReason.STALE)
        ledger.return_dropped(ledger.take_dropped_since_last())
    assert ledger.take_dropped_since_last() == {DropReason.STALE: 2}


def test_frame_counted_out_twice_is_a_programming_error() -> None:
    ledger = FrameLedger()
    ledger.receive()
    ledger.publish()
    with pytest.raises(RuntimeError):
        ledger.drop(DropReason.FAILED)


@given(st.lists(st.one_of(st.just("receive"), st.just("publish"), st.sampled_from(DropReason))))
def test_the_books_balance_after_any_sequence(steps: list[object]) -> None:
    ledger = FrameLedger()
    for step in steps:
        if step == "receive":
            ledger.receive()
        elif ledger.counts().pending == 0:
            continue
        elif step == "publish":
            ledger.publish()
        else:
            assert isinstance(step, DropReason)
            ledger.drop(step)
    counts = ledger.counts()
    assert counts.received == counts.published + counts.dropped_total + counts.pending
