import threading
from collections.abc import Callable

import numpy as np
import pytest
from model_identities import model_identity

from gps_denied_inference.core.contracts import DropReason, Frame, GlobalDescriptor, ImageFrame, StageTimings
from gps_denied_inference.core.errors import ImageDecodeError, InferenceError, NonFiniteOutputError
from gps_denied_inference.core.pipeline import FrameCounts, FrameLedger, FrameWorker, PipelineResult, Turn, Turns

_TIMEOUT_S = 20.0
_MODEL = model_identity()
_TIMINGS = StageTimings(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def _frame(stamp_ns: int) -> ImageFrame:
    return ImageFrame(stamp_ns, "camera", "mono8", 1, 1, 1, False, np.zeros(1, np.uint8))


class GatedProcessor:
    """Holds each frame until the test lets it go; raises what the test asks for."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.error: Exception | None = None
        self.warm_up_error: Exception | None = None
        self.calls: list[tuple[str, int]] = []

    def warm_up_thread(self) -> None:
        self.calls.append(("warm_up", threading.get_ident()))
        if self.warm_up_error is not None:
            raise self.warm_up_error

    def process(self, frame: Frame, received_ns: int | None = None) -> PipelineResult:
        self.calls.append(("process", threading.get_ident()))
        self.entered.release()
        assert self.gate.acquire(timeout=_TIMEOUT_S)
        if self.error is not None:
            raise self.error
        features = GlobalDescriptor(np.zeros(1, np.float32))
        return PipelineResult(frame.stamp_ns, frame.frame_id, features, _TIMINGS, _MODEL)


class Harness:
    def __init__(self, turns: Turns | None = None) -> None:
        self.now_ns = 0
        self.processor = GatedProcessor()
        self.ledger = FrameLedger()
        self.published: list[int] = []
        self.errors: list[tuple[DropReason, Exception]] = []
        self.settled = threading.Semaphore(0)
        self.publish_error: Exception | None = None
        self.late: list[object] = []
        self.worker = FrameWorker(
            self.processor,
            self.ledger,
            max_frame_age_ms=100.0,
            publish=self._publish,
            on_error=self._on_error,
            on_late_return=self._on_late_return,
            turns=turns,
            clock=lambda: self.now_ns,
        )

    def _publish(self, result: PipelineResult) -> None:
        if self.publish_error is not None:
            raise self.publish_error
        self.published.append(result.stamp_ns)
        self.settled.release()

    def _on_error(self, reason: DropReason, error: Exception) -> None:
        self.errors.append((reason, error))
        self.settled.release()

    def _on_late_return(self, processor: object) -> None:
        self.late.append(processor)
        self.settled.release()

    def wait_until(self, condition: Callable[[FrameCounts], bool]) -> FrameCounts:
        pause = threading.Event()
        for _ in range(2000):
            if condition(self.ledger.counts()):
                return self.ledger.counts()
            pause.wait(0.01)
        raise AssertionError(f"never reached: {self.ledger.counts()}")


@pytest.fixture
def harness() -> Harness:
    return Harness()


def test_newest_frame_wins_and_the_overwritten_are_counted(harness: Harness) -> None:
    harness.worker.start()
    harness.worker.submit(_frame(1))
    assert harness.processor.entered.acquire(timeout=_TIMEOUT_S)
    for stamp in (2, 3, 4):
        harness.worker.submit(_frame(stamp))
    counts = harness.ledger.counts()
    assert (counts.received, counts.dropped[DropReason.OVERWRITTEN], counts.pending) == (4, 2, 2)
    harness.processor.gate.release(2)
    harness.wait_until(lambda counts: counts.published == 2)
    assert harness.published == [1, 4]
    harness.worker.stop(_TIMEOUT_S)


def test_stale_frame_is_not_worked_on(harness: Harness) -> None:
    harness.worker.start()
    harness.now_ns = int(101e6)
    harness.worker.submit(_frame(1), received_ns=0)
    counts = harness.wait_until(lambda counts: counts.pending == 0)
    assert counts.dropped[DropReason.STALE] == 1
    assert not harness.processor.entered.acquire(blocking=False)
    harness.worker.stop(_TIMEOUT_S)


def test_frame_just_within_the_age_limit_is_worked_on(harness: Harness) -> None:
    harness.worker.start()
    harness.now_ns = int(100e6)
    harness.processor.gate.release()
    harness.worker.submit(_frame(1), received_ns=0)
    harness.wait_until(lambda counts: counts.published == 1)
    harness.worker.stop(_TIMEOUT_S)


def test_frames_before_start_and_after_stop_are_inactive(harness: Harness) -> None:
    harness.worker.submit(_frame(1))
    harness.worker.start()
    harness.worker.stop(_TIMEOUT_S)
    harness.worker.submit(_frame(2))
    counts = harness.ledger.counts()
    assert (counts.received, counts.dropped[DropReason.INACTIVE], counts.pending) == (2, 2, 0)


def test_stop_under_load_counts_the_frame_in_work_and_the_waiting_one(harness: Harness) -> None:
    harness.worker.start()
    harness.worker.submit(_frame(1))
    assert harness.processor.entered.acquire(timeout=_TIMEOUT_S)
    harness.worker.submit(_frame(2))
    stopper = threading.Thread(target=harness.worker.stop, args=(_TIMEOUT_S,))
    stopper.start()
    harness.wait_until(lambda counts: counts.dropped[DropReason.INACTIVE] == 1)
    harness.processor.gate.release()
    stopper.join(_TIMEOUT_S)
    counts = harness.ledger.counts()
    assert (counts.received, counts.dropped[DropReason.INACTIVE], counts.pending) == (2, 2, 0)
    assert harness.published == []


def test_network_that_does_not_return_fails_the_stop_and_the_next_start(harness: Harness) -> None:
    harness.worker.start()
    harness.worker.submit(_frame(1))
    assert harness.processor.entered.acquire(timeout=_TIMEOUT_S)
    with pytest.raises(InferenceError, match="did not return"):
        harness.worker.stop(0.01)
    with pytest.raises(InferenceError, match="still inside"):
        harness.worker.start()
    assert harness.ledger.counts().pending == 1
    harness.processor.gate.release()
    harness.worker.stop(_TIMEOUT_S)
    assert harness.ledger.counts().pending == 0


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ImageDecodeError("bad"), DropReason.UNDECODABLE),
        (NonFiniteOutputError("NaN"), DropReason.NOT_FINITE),
        (InferenceError("broken"), DropReason.FAILED),
        (ZeroDivisionError("a bug"), DropReason.FAILED),
    ],
)
def test_error_drops_its_frame_with_its_reason_and_work_goes_on(
    harness: Harness, error: Exception, reason: DropReason
) -> None:
    harness.worker.start()
    harness.processor.error = error
    harness.processor.gate.release()
    harness.worker.submit(_frame(1))
    harness.wait_until(lambda counts: counts.dropped[reason] == 1)
    assert harness.settled.acquire(timeout=_TIMEOUT_S)
    assert harness.errors == [(reason, error)]
    harness.processor.error = None
    harness.processor.gate.release()
    harness.worker.submit(_frame(2))
    harness.wait_until(lambda counts: counts.published == 1)
    assert harness.published == [2]
    harness.worker.stop(_TIMEOUT_S)


def test_failing_error_listener_does_not_end_the_work(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_reason: DropReason, _error: Exception) -> None:
        raise RuntimeError("no logger")

    monkeypatch.setattr(harness.worker, "_on_error", fail)
    harness.processor.error = InferenceError("broken")
    harness.worker.start()
    harness.processor.gate.release(2)
    harness.worker.submit(_frame(1))
    harness.wait_until(lambda counts: counts.dropped[DropReason.FAILED] == 1)
    harness.processor.error = None
    harness.worker.submit(_frame(2))
    harness.wait_until(lambda counts: counts.published == 1)
    harness.worker.stop(_TIMEOUT_S)


def test_failing_publisher_counts_the_frame_as_failed(harness: Harness) -> None:
    harness.publish_error = RuntimeError("no middleware")
    harness.worker.start()
    harness.processor.gate.release()
    harness.worker.submit(_frame(1))
    counts = harness.wait_until(lambda counts: counts.pending == 0)
    assert (counts.published, counts.dropped[DropReason.FAILED]) == (0, 1)
    harness.worker.stop(_TIMEOUT_S)


def test_start_and_stop_are_idempotent_and_repeatable(harness: Harness) -> None:
    for stamp in range(3):
        harness.worker.start()
        harness.worker.start()
        harness.processor.gate.release()
        harness.worker.submit(_frame(stamp))
        assert harness.settled.acquire(timeout=_TIMEOUT_S)
        harness.worker.stop(_TIMEOUT_S)
        harness.worker.stop(_TIMEOUT_S)
    assert harness.published == [0, 1, 2]


def test_books_balance_under_a_flood_from_many_threads() -> None:
    harness = Harness()
    harness.processor.gate = threading.Semaphore(10**6)
    harness.worker.start()

    def flood() -> None:
        for stamp in range(500):
            harness.worker.submit(_frame(stamp))

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_TIMEOUT_S)
    harness.worker.stop(_TIMEOUT_S)
    counts = harness.ledger.counts()
    assert counts.received == 2000
    assert counts.received == counts.published + counts.dropped_total
    assert counts.published == len(harness.published) > 0


def _let_pass(processor: GatedProcessor, frames: int = 1) -> GatedProcessor:
    processor.gate.release(frames)
    return processor


def test_each_start_warms_the_network_once_on_the_thread_of_the_worker(harness: Harness) -> None:
    for stamp in range(2):
        harness.worker.start()
        _let_pass(harness.processor)
        harness.worker.submit(_frame(stamp))
        assert harness.settled.acquire(timeout=_TIMEOUT_S)
        harness.worker.stop(_TIMEOUT_S)
    calls = harness.processor.calls
    assert [name for name, _ in calls] == ["warm_up", "process"] * 2
    assert calls[0][1] == calls[1][1] != threading.get_ident()
    assert calls[2][1] == calls[3][1]


def test_network_is_warm_without_any_frame(harness: Harness) -> None:
    harness.worker.start()
    harness.wait_until(lambda _: bool(harness.processor.calls))
    harness.worker.stop(_TIMEOUT_S)
    assert [name for name, _ in harness.processor.calls] == ["warm_up"]


def test_failed_warm_up_is_logged_and_frames_are_tried(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    harness.processor.warm_up_error = InferenceError("cold")
    harness.worker.start()
    _let_pass(harness.processor)
    harness.worker.submit(_frame(1))
    harness.wait_until(lambda counts: counts.published == 1)
    harness.worker.stop(_TIMEOUT_S)
    assert "could not be warmed up" in caplog.text
    assert [name for name, _ in harness.processor.calls] == ["warm_up", "process"]


def test_swap_waits_for_the_frame_in_work_and_the_waiting_one_goes_to_the_new_processor(harness: Harness) -> None:
    new = _let_pass(GatedProcessor())
    returned: list[object] = []
    harness.worker.start()
    harness.worker.submit(_frame(1))
    assert harness.processor.entered.acquire(timeout=_TIMEOUT_S)
    harness.worker.submit(_frame(2))
    swapper = threading.Thread(target=lambda: returned.append(harness.worker.swap(new, _TIMEOUT_S)))
    swapper.start()
    harness.wait_until(lambda _: harness.worker._swaps_waiting == 1)
    assert returned == []
    _let_pass(harness.processor, 2)
    swapper.join(_TIMEOUT_S)
    counts = harness.wait_until(lambda counts: counts.published == 2)
    assert returned == [harness.processor]
    assert (counts.received, counts.dropped_total, counts.pending) == (2, 0, 0)
    assert [name for name, _ in harness.processor.calls] == ["warm_up", "process"]
    assert [name for name, _ in new.calls] == ["warm_up", "process"]
    assert new.calls[0][1] == new.calls[1][1] == harness.processor.calls[0][1]
    harness.worker.stop(_TIMEOUT_S)


def test_swap_gives_up_on_a_network_that_does_not_return_and_changes_nothing(harness: Harness) -> None:
    new = GatedProcessor()
    harness.worker.start()
    harness.worker.submit(_frame(1))
    assert harness.processor.entered.acquire(timeout=_TIMEOUT_S)
    with pytest.raises(InferenceError, match="did not return"):
        harness.worker.swap(new, 0.01)
    _let_pass(harness.processor, 2)
    harness.wait_until(lambda counts: counts.published == 1)
    harness.worker.submit(_frame(2))
    harness.wait_until(lambda counts: counts.published == 2)
    assert harness.published == [1, 2]
    assert new.calls == []
    harness.worker.stop(_TIMEOUT_S)


def test_swap_before_the_start_and_after_the_stop(harness: Harness) -> None:
    first, second = GatedProcessor(), _let_pass(GatedProcessor())
    assert harness.worker.swap(first, 0.0) is harness.processor
    harness.worker.start()
    harness.wait_until(lambda _: bool(first.calls))
    harness.worker.stop(_TIMEOUT_S)
    assert harness.worker.swap(second, 0.0) is first
    harness.worker.start()
    harness.worker.submit(_frame(1))
    harness.wait_until(lambda counts: counts.published == 1)
    harness.worker.stop(_TIMEOUT_S)
    assert harness.processor.calls == []
    assert [name for name, _ in second.calls] == ["warm_up", "process"]


def test_books_balance_when_processors_are_swapped_under_a_flood(harness: Harness) -> None:
    processors = [_let_pass(GatedProcessor(), 10**6) for _ in range(20)]
    _let_pass(harness.processor, 10**6)
    harness.worker.start()
    is_flooding = threading.Event()
    is_flooding.set()

    def flood() -> None:
        stamp = 0
        while is_flooding.is_set():
            stamp += 1
            harness.worker.submit(_frame(stamp))

    flooder = threading.Thread(target=flood)
    flooder.start()
    try:
        old = [harness.worker.swap(processor, _TIMEOUT_S) for processor in processors]
    finally:
        is_flooding.clear()
        flooder.join(_TIMEOUT_S)
    harness.worker.stop(_TIMEOUT_S)
    counts = harness.ledger.counts()
    assert old == [harness.processor, *processors[:-1]]
    assert counts.received == counts.published + counts.dropped_total
    assert counts.dropped_total == counts.dropped[DropReason.OVERWRITTEN] + counts.dropped[DropReason.INACTIVE]
    assert counts.published == len(harness.published)


def test_frames_beyond_the_rate_limit_are_counted_as_such_until_it_is_lifted(harness: Harness) -> None:
    harness.worker.limit_rate(5.0)
    harness.worker.start()
    for index in range(6):
        harness.worker.submit(_frame(index), index * 100_000_000)
        if index % 2 == 0:
            harness.now_ns = index * 100_000_000
            harness.processor.gate.release()
            harness.wait_until(lambda counts, done=index // 2 + 1: counts.published == done)  # type: ignore[misc]
    harness.worker.limit_rate(None)
    harness.worker.submit(_frame(6), 600_000_001)
    harness.processor.gate.release()
    counts = harness.wait_until(lambda counts: counts.published == 4)
    assert harness.published == [0, 2, 4, 6]
    assert counts.dropped[DropReason.RATE_LIMITED] == 3 == counts.dropped_total
    harness.worker.stop(1.0)


def test_abandoned_call_counts_as_failed_and_its_late_result_is_thrown_away(harness: Harness) -> None:
    worker, hung = harness.worker, harness.processor
    worker.start()
    worker.submit(_frame(1))
    assert hung.entered.acquire(timeout=_TIMEOUT_S)
    harness.now_ns = int(3e9)
    assert worker.busy_s == 3.0
    assert worker.abandon()
    assert worker.busy_s == 0.0
    counts = harness.ledger.counts()
    assert (counts.dropped[DropReason.FAILED], counts.pending) == (1, 0)
    hung.gate.release()
    assert harness.settled.acquire(timeout=_TIMEOUT_S)
    assert harness.late == [hung] and not harness.published and not harness.errors
    assert harness.ledger.counts() == counts
    worker.stop(_TIMEOUT_S)


def test_after_an_abandoned_call_the_newest_frame_waits_for_the_next_processor(harness: Harness) -> None:
    worker = harness.worker
    worker.start()
    worker.submit(_frame(1), received_ns=0)
    assert harness.processor.entered.acquire(timeout=_TIMEOUT_S)
    worker.submit(_frame(2), received_ns=0)
    assert worker.abandon()
    worker.submit(_frame(3), received_ns=0)
    fresh = GatedProcessor()
    fresh.gate.release()
    assert worker.swap(fresh, _TIMEOUT_S) is None
    counts = harness.wait_until(lambda counts: counts.published == 1)
    assert harness.published == [3]
    assert (counts.received, counts.pending) == (3, 0)
    assert counts.dropped[DropReason.FAILED] == counts.dropped[DropReason.OVERWRITTEN] == 1
    # The hung one ends late, beside the new one, and changes nothing.
    harness.processor.error = InferenceError("too late")
    harness.processor.gate.release()
    harness.wait_until(lambda _: bool(harness.late))
    assert harness.ledger.counts() == counts and not harness.errors
    worker.stop(_TIMEOUT_S)


def test_call_that_began_since_somebody_looked_is_not_abandoned(harness: Harness) -> None:
    worker = harness.worker
    worker.start()
    worker.submit(_frame(1))
    assert harness.processor.entered.acquire(timeout=_TIMEOUT_S)
    harness.now_ns += int(1.9e9)
    assert not worker.abandon(2.0)
    harness.now_ns += int(0.2e9)
    assert worker.abandon(2.0)
    harness.processor.gate.release()
    worker.stop(_TIMEOUT_S)


def test_nothing_in_work_is_nothing_to_abandon(harness: Harness) -> None:
    assert not harness.worker.abandon()
    harness.worker.start()
    harness.worker.stop(_TIMEOUT_S)
    assert not harness.worker.abandon()


def test_abandoned_worker_stops_at_once_and_starts_only_with_another_processor(harness: Harness) -> None:
    worker = harness.worker
    worker.start()
    worker.submit(_frame(1))
    assert harness.processor.entered.acquire(timeout=_TIMEOUT_S)
    assert worker.abandon()
    worker.stop(0.0)
    with pytest.raises(InferenceError, match="loaded again"):
        worker.start()
    fresh = GatedProcessor()
    worker.swap(fresh, _TIMEOUT_S)
    worker.start()
    worker.submit(_frame(2), received_ns=0)
    assert fresh.entered.acquire(timeout=_TIMEOUT_S)
    fresh.gate.release()
    harness.processor.gate.release()
    harness.wait_until(lambda counts: counts.published == 1)
    worker.stop(_TIMEOUT_S)


def test_frame_that_is_handed_over_again_is_worked_on_again_and_counted_once(harness: Harness) -> None:
    worker = harness.worker
    assert not worker.submit_again(_frame(1)), "a worker that does not run"
    worker.start()
    worker.submit(_frame(1))
    assert harness.processor.entered.acquire(timeout=_TIMEOUT_S)
    assert worker.submit_again(_frame(1)) and worker.submit_again(_frame(1)), "the later takes the place of the earlier"
    _let_pass(harness.processor, 2)
    for _ in range(2):
        assert harness.settled.acquire(timeout=_TIMEOUT_S)
    worker.stop(_TIMEOUT_S)
    assert harness.published == [1, 1]
    counts = harness.ledger.counts()
    assert (counts.received, counts.published, counts.dropped_total, counts.pending) == (1, 1, 0, 0)


def test_frame_that_is_handed_over_again_gives_way_uncounted(harness: Harness) -> None:
    worker = harness.worker
    worker.start()
    worker.submit(_frame(1))
    assert harness.processor.entered.acquire(timeout=_TIMEOUT_S)
    assert worker.submit_again(_frame(1))
    worker.submit(_frame(2))
    assert not worker.submit_again(_frame(1)), "one that is counted waits"
    _let_pass(harness.processor, 2)
    counts = harness.wait_until(lambda counts: counts.published == 2)
    assert harness.published == [1, 2]
    assert (counts.received, counts.dropped_total, counts.pending) == (2, 0, 0)
    harness.processor.error = InferenceError("no")
    assert worker.submit_again(_frame(2))
    assert harness.processor.entered.acquire(timeout=_TIMEOUT_S)  # of frame 2
    _let_pass(harness.processor)
    while not harness.errors:
        assert harness.settled.acquire(timeout=_TIMEOUT_S)
    worker.stop(_TIMEOUT_S)
    assert harness.ledger.counts() == counts, "its error is told, not counted"


def test_frame_that_is_handed_over_again_and_abandoned_is_not_counted_as_failed(harness: Harness) -> None:
    worker = harness.worker
    worker.start()
    _let_pass(harness.processor)
    worker.submit(_frame(1))
    counts = harness.wait_until(lambda counts: counts.published == 1)
    assert harness.processor.entered.acquire(timeout=_TIMEOUT_S)
    assert worker.submit_again(_frame(1))
    assert harness.processor.entered.acquire(timeout=_TIMEOUT_S)
    assert worker.abandon()
    assert harness.ledger.counts() == counts
    _let_pass(harness.processor)
    worker.stop(_TIMEOUT_S)


def test_frame_that_comes_between_a_turn_and_its_start_leaves_no_announcement_behind() -> None:
    turns = Turns()
    harness = Harness(turns=turns)
    harness.worker.start()
    granted = turns.take

    def take_and_submit(priority: int, is_wanted: Callable[[], bool], who: object = None) -> Turn | None:
        turn = granted(priority, is_wanted, who)
        if not harness.published:
            harness.worker.submit(_frame(2))
        return turn

    turns.take = take_and_submit  # type: ignore[method-assign]
    harness.processor.gate.release(3)
    harness.worker.submit(_frame(1))
    harness.wait_until(lambda counts: counts.published >= 1 and not counts.pending)
    assert not turns._announced
    harness.worker.stop(_TIMEOUT_S)
