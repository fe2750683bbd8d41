"""One slot, one thread: the newest frame wins, and what is overwritten is counted."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from gps_denied_inference.core.contracts import DropReason, Frame
from gps_denied_inference.core.errors import (
    GpsDeniedInferenceError,
    ImageDecodeError,
    InferenceError,
    NonFiniteOutputError,
)
from gps_denied_inference.core.pipeline.accounting import FrameLedger
from gps_denied_inference.core.pipeline.pipeline import PipelineResult
from gps_denied_inference.core.pipeline.rate_limit import RateLimit
from gps_denied_inference.core.pipeline.turns import Turn, Turns

__all__ = ["FrameProcessor", "FrameWorker", "NewestWorker", "Processor"]

_LOGGER = logging.getLogger("gps_denied_inference.worker")


_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_Taken = TypeVar("_Taken", contravariant=True)
_Given = TypeVar("_Given", covariant=True)


class Processor(Protocol[_Taken, _Given]):
    """What a worker drives."""

    def warm_up_thread(self) -> None:
        """Called once on each thread that will call `process`, before the first frame."""

    def process(self, frame: _Taken, received_ns: int | None = None, /) -> _Given: ...


class FrameProcessor(Processor[Frame, PipelineResult], Protocol):
    """A `Pipeline`, or a stand-in with the same methods."""


class NewestWorker(Generic[_Item, _Result]):
    """Feeds frames (or what else comes one by one) to a processor on a thread of its own.

    A frame that arrives while another waits takes its place. A frame that waited longer than `max_frame_age_ms` is not
    worked on. Every frame ends in the ledger, published or dropped with a reason.

    Args:
        pipeline: used from the worker thread only; warmed there before its first frame.
        ledger: counts the frames.
        max_frame_age_ms: milliseconds of the steady clock since reception.
        publish: called on the worker thread with each result; the frame counts as published when it returns.
        on_error: called on the worker thread when a frame is dropped because of an error.
        on_late_return: called on the abandoned thread when a call that was given up returns after all, with the
            processor that it was in: nobody uses that one any more.
        turns: of the device, when other workers use it too; the newest frame is taken once it is this one's turn.
        clock: steady clock, nanoseconds.
    """

    def __init__(
        self,
        pipeline: Processor[_Item, _Result],
        ledger: FrameLedger,
        *,
        max_frame_age_ms: float,
        publish: Callable[[_Result], None],
        on_error: Callable[[DropReason, Exception], None],
        on_late_return: Callable[[Processor[_Item, _Result]], None] = lambda _processor: None,
        turns: Turns | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.max_frame_age_ms = max_frame_age_ms
        self.priority = 0
        """In the turns; the higher, the sooner."""
        self._pipeline: Processor[_Item, _Result] | None = pipeline
        self._ledger = ledger
        self._publish = publish
        self._on_error = on_error
        self._on_late_return = on_late_return
        self._turns = turns
        self._turn: Turn | None = None
        self._clock = clock
        self._condition = threading.Condition()
        self._slot: _Waiting[_Item] | None = None
        self._rate_limit: RateLimit | None = None
        self._is_running = False
        self._is_busy = False
        self._busy_since_ns = 0
        self._has_frame_in_work = False
        """One that the ledger has as pending."""
        self._swaps_waiting = 0
        self._thread: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        return self._is_running

    @property
    def busy_s(self) -> float:
        """Seconds that the present call has been inside the network, or in publishing; 0 between two calls."""
        with self._condition:
            return (self._clock() - self._busy_since_ns) / 1e9 if self._is_busy else 0.0

    @property
    def is_abandoned(self) -> bool:
        """A call was given up, and no other processor has come yet."""
        return self._pipeline is None

    def limit_rate(self, max_rate_hz: float | None) -> None:
        """Work on this many frames a second at most; those between are counted as rate-limited. None: on all."""
        with self._condition:
            if max_rate_hz is None:
                self._rate_limit = None
            elif self._rate_limit is None or self._rate_limit.max_rate_hz != max_rate_hz:
                self._rate_limit = RateLimit(max_rate_hz)

    def start(self) -> None:
        """Begin to work. Frames submitted before are counted as inactive.

        Raises:
            InferenceError: an earlier call to the network has still not returned, or was abandoned.
        """
        with self._condition:
            if self._is_running:
                return
            if self._pipeline is None:
                raise InferenceError("the network hung and was abandoned; wait until its engine is loaded again")
            if self._thread is not None and self._thread.is_alive():
                raise InferenceError(
                    "the worker of the last activation is still inside the network; restart the process"
                )
            self._is_running = True
            self._start_thread()

    def _start_thread(self) -> None:
        self._thread = threading.Thread(target=self._work, name="inference", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Stop working and wait for the frame in work; waiting and unfinished frames are counted as inactive.

        Raises:
            InferenceError: the network did not return within `timeout_s` seconds.
        """
        with self._condition:
            self._is_running = False
            self._empty_slot(DropReason.INACTIVE)
            self._condition.notify_all()
            thread = self._thread
        if self._turns is not None:
            self._turns.withdraw(self)
            self._turns.wake()
        if thread is not None:
            thread.join(timeout_s)
            if thread.is_alive():
                raise InferenceError(f"the network did not return within {timeout_s:g} s; its frame stays pending")
            self._thread = None

    def abandon(self, longer_than_s: float = 0.0) -> bool:
        """Give up the call that is in work: its frame counts as failed, its thread ends when it returns, if ever.

        Until `swap` brings another processor nothing is worked on; the newest frame waits for it.

        Args:
            longer_than_s: only a call that has gone on for longer: since it was looked at, another may have begun.

        Returns:
            False when no such call was in work.
        """
        with self._condition:
            if not self._is_busy or (self._clock() - self._busy_since_ns) / 1e9 < longer_than_s:
                return False
            if self._has_frame_in_work:
                self._ledger.drop(DropReason.FAILED)
            self._has_frame_in_work = self._is_busy = False
            self._thread = None
            self._pipeline = None
            self._end_turn()
            if self._turns is not None:
                self._turns.withdraw(self)
            self._condition.notify_all()
            return True

    def swap(self, processor: Processor[_Item, _Result], timeout_s: float) -> Processor[_Item, _Result] | None:
        """Replace the processor between two frames; a waiting frame stays and goes to the new one.

        Works while the worker is stopped, too, and after `abandon`. Call from any thread but the worker's own.

        Args:
            processor: warmed on the worker's thread before its first frame.
            timeout_s: seconds to wait for the frame in work.

        Returns:
            The old processor, out of use from now on: the caller closes it. None when it was abandoned.

        Raises:
            InferenceError: the frame in work did not end within `timeout_s` seconds; nothing has changed.
        """
        with self._condition:
            # Under load the next frame would be begun before this thread wakes: the worker waits while one is counted.
            self._swaps_waiting += 1
            try:
                if not self._condition.wait_for(lambda: not self._is_busy, timeout_s):
                    raise InferenceError(
                        f"the network did not return within {timeout_s:g} s; the present one stays, try again later"
                    )
                old, self._pipeline = self._pipeline, processor
                if self._is_running and self._thread is None:
                    self._start_thread()
            finally:
                self._swaps_waiting -= 1
                self._condition.notify_all()
        return old

    def submit(self, frame: _Item, received_ns: int | None = None) -> None:
        """Hand over a frame; never blocks on the network. Counts it as received.

        Args:
            frame: must stay unchanged until it is counted out.
            received_ns: steady clock of its reception; now, when None.
        """
        stamp = self._clock() if received_ns is None else received_ns
        with self._condition:
            self._ledger.receive()
            if not self._is_running:
                self._ledger.drop(DropReason.INACTIVE)
                return
            if self._rate_limit is not None and not self._rate_limit.admits(stamp):
                self._ledger.drop(DropReason.RATE_LIMITED)
                return
            self._empty_slot(DropReason.OVERWRITTEN)
            self._slot = _Waiting(frame, stamp, is_counted=True)
            if self._turns is not None and self._pipeline is not None:
                self._turns.announce(self, self.priority)
            self._condition.notify_all()

    def submit_again(self, frame: _Item) -> bool:
        """Hand over a frame once more that was taken before, because there is more to it now.

        It is in the ledger already and not counted again. It never takes the place of a frame that is.

        Returns:
            False when it was let go at once: a frame waits, or the worker does not run.
        """
        with self._condition:
            if not self._is_running or (self._slot is not None and self._slot.is_counted):
                return False
            self._slot = _Waiting(frame, self._clock(), is_counted=False)
            self._condition.notify_all()
            return True

    def _empty_slot(self, reason: DropReason) -> None:
        waiting, self._slot = self._slot, None
        if waiting is not None and waiting.is_counted:
            self._ledger.drop(reason)

    def _work(self) -> None:
        warmed: Processor[_Item, _Result] | None = None
        processor: Processor[_Item, _Result] | None = None
        while True:
            with self._condition:
                if self._is_abandoned():
                    break
                self._is_busy = False
                self._end_turn()
                self._condition.notify_all()
                while not self._may_go_on(warmed):
                    self._condition.wait()
            turn = None if self._turns is None else self._turns.take(self.priority, lambda: self._is_running, self)
            with self._condition:
                self._turn = turn
                if not self._is_running:
                    self._end_turn()
                    return
                if not self._may_go_on(warmed):  # the frame went stale with a swap, while others had their turns
                    continue
                processor = self._pipeline
                assert processor is not None  # there is none only while there is no thread either
                self._is_busy = True
                self._busy_since_ns = self._clock()
                taken = None
                if processor is warmed:
                    taken, self._slot = self._slot, None
                    if self._turns is not None:  # a frame may have come, and been announced, since the turn was granted
                        self._turns.withdraw(self)
                self._has_frame_in_work = taken is not None and taken.is_counted
            if taken is None:
                _warm_up(processor)
                warmed = processor
            else:
                self._work_on(processor, taken.frame, taken.received_ns)
        if processor is not None:
            self._on_late_return(processor)

    def _may_go_on(self, warmed: Processor[_Item, _Result] | None) -> bool:
        """Whether there is something to do, a frame or a new processor to warm, or an end; with the condition held."""
        if not self._is_running:
            return True
        return not self._swaps_waiting and (self._slot is not None or self._pipeline is not warmed)

    def _end_turn(self) -> None:
        if self._turn is not None:
            self._turn.give_back()
            self._turn = None

    def _is_abandoned(self) -> bool:
        """Whether the calling thread is one whose call was given up."""
        return self._thread is not threading.current_thread()

    def _settle(self, count: Callable[[], None]) -> bool:
        """Count the frame in work, unless it was counted already. Tells whether it was not given up."""
        with self._condition:
            if self._is_abandoned():
                return False
            if self._has_frame_in_work:
                count()
            self._has_frame_in_work = False
            return True

    def _work_on(self, processor: Processor[_Item, _Result], frame: _Item, received_ns: int) -> None:
        if (self._clock() - received_ns) / 1e6 > self.max_frame_age_ms:
            self._settle(lambda: self._ledger.drop(DropReason.STALE))
            return
        try:
            result = processor.process(frame, received_ns)
            if self._is_abandoned():
                return
            if not self._is_running:
                self._settle(lambda: self._ledger.drop(DropReason.INACTIVE))
                return
            self._publish(result)
        except Exception as error:
            reason = _reason_of(error)
            if not self._settle(lambda: self._ledger.drop(reason)):
                return
            if not isinstance(error, GpsDeniedInferenceError):
                _LOGGER.exception("a frame failed with an error outside the error family")
            try:
                self._on_error(reason, error)
            except Exception:
                # This thread must outlive whatever listens: without it each later frame would be overwritten.
                _LOGGER.exception("the listener of dropped frames failed")
            return
        self._settle(self._ledger.publish)


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[_Item]):
    """A frame that waits, when it was received, and whether the ledger has it as pending."""

    frame: _Item
    received_ns: int
    is_counted: bool


class FrameWorker(NewestWorker[Frame, PipelineResult]):
    """Feeds images to a pipeline."""


def _warm_up(processor: Processor[_Item, _Result]) -> None:
    try:
        processor.warm_up_thread()
    except Exception:
        # The first frame will fail likewise, and is counted and reported.
        _LOGGER.exception("the network could not be warmed up on the thread of the worker")


def _reason_of(error: Exception) -> DropReason:
    if isinstance(error, ImageDecodeError):
        return DropReason.UNDECODABLE
    if isinstance(error, NonFiniteOutputError):
        return DropReason.NOT_FINITE
    return DropReason.FAILED
