"""Keeps the latest thermal state: one thread reads, anybody looks without waiting."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from gps_denied_inference.core.contracts import UNKNOWN_THERMAL_STATE, ThermalState
from gps_denied_inference.core.errors import SettingsError, TelemetryUnavailableError
from gps_denied_inference.core.thermal.plausibility import plausible_state
from gps_denied_inference.core.thermal.source import ThermalSource
from gps_denied_inference.core.thermal.transition_log import TransitionLog

__all__ = ["ThermalStatePublisher"]

_LOGGER = logging.getLogger("gps_denied_inference.thermal")

_LOWEST_HZ, _HIGHEST_HZ = 0.2, 10.0
_STALE_AFTER_PERIODS = 3
# At 10 Hz three periods are less than a reading may take on a loaded machine.
_STALE_AT_LEAST_NS = 1_000_000_000


class ThermalStatePublisher:
    """Polls a source; satisfies `contracts.ThermalPublisher`.

    A throttle that begins or ends is reported after at most one period and the time of one reading. Loss of
    telemetry, an implausible reading and a source that hangs all become the default-safe state with a cause;
    the next good reading ends it.

    Attributes:
        source_reason: which source was chosen and why.

    Args:
        source: what to read, owned from now on (closed by `close`); None: the state stays unknown.
        poll_hz: 0.2 to 10.
        clock: steady clock, ns; the one that the source uses.
        on_flip: called on the polling thread with the new state whenever throttling or the availability of
            telemetry changes. What it raises is logged.
        source_reason: which source was chosen and why (`SourceChoice.reason`); without a source it is the state's
            cause.

    Raises:
        SettingsError: `poll_hz` is out of range.
    """

    def __init__(
        self,
        source: ThermalSource | None,
        poll_hz: float = 2.0,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        on_flip: Callable[[ThermalState], None] | None = None,
        source_reason: str = UNKNOWN_THERMAL_STATE.cause,
    ) -> None:
        if not _LOWEST_HZ <= poll_hz <= _HIGHEST_HZ:
            raise SettingsError("thermal_poll_hz", poll_hz, f"{_LOWEST_HZ} to {_HIGHEST_HZ:g} Hz")
        self._source = source
        self._period_s = 1.0 / poll_hz
        self._stale_after_ns = max(int(_STALE_AFTER_PERIODS * self._period_s * 1e9), _STALE_AT_LEAST_NS)
        self._clock = clock
        self._on_flip = on_flip
        self._log = TransitionLog(_LOGGER, clock)
        self.source_reason = source_reason
        first = ThermalState(cause=source_reason if source is None else "no reading yet")
        # One attribute holds state and time together: a reference is stored and loaded atomically, so no
        # reader ever waits or sees halves.
        self._latest: tuple[ThermalState, int] = (first, clock())
        self._changed_ns = clock()
        self._lifecycle = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._is_closed = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def is_running(self) -> bool:
        """Whether the polling thread has been started and not stopped."""
        return self._thread is not None and not self._stop.is_set()

    def snapshot(self) -> ThermalState:
        """Return the latest reading without blocking; one that is too old is reported as no telemetry."""
        state, completed_ns = self._latest
        if self._source is None:
            return state
        age_ns = self._clock() - completed_ns
        if age_ns <= self._stale_after_ns:
            return state
        why = "" if self.is_running else " (polling is stopped)"
        return ThermalState(measured_at_ns=state.measured_at_ns, cause=f"no reading for {age_ns / 1e9:.1f} s{why}")

    def observe(self) -> ThermalState:
        """As `snapshot`, and log a source that has stopped answering: nobody else can while it hangs.

        For the one caller that looks regularly.
        """
        state = self.snapshot()
        if self.is_running and not state.is_telemetry_available:
            self._log.note(state)
        return state

    def seconds_unchanged(self) -> float:
        """Return for how long no temperature and no clock has moved; 0 without telemetry.

        Real sensors flicker in their last digit: one that stands still for minutes may be stuck.
        """
        if not self.snapshot().is_telemetry_available:
            return 0.0
        return (self._clock() - self._changed_ns) / 1e9

    def start(self) -> None:
        """Start polling; harmless while it runs, without a source, and after `close`."""
        with self._lifecycle:
            if self.is_running or self._source is None or self._is_closed:
                return
            # The event belongs to this run: a thread that hung through an earlier stop still sees its own.
            self._stop = threading.Event()
            self._thread = threading.Thread(
                target=self._run, args=(self._stop, self._thread), name="thermal-poll", daemon=True
            )
            self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> None:
        """Stop polling and wait for the thread, but not longer than this; harmless when it is stopped.

        A thread that hangs in its source is left behind: it is a daemon, and what it still reads is thrown
        away.
        """
        with self._lifecycle:
            self._stop.set()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)
            if thread.is_alive():
                _LOGGER.warning("the thermal source did not answer within %.1f s and is left behind", timeout_s)

    def close(self) -> None:
        """Stop polling and close the source, unless a reading still hangs in it. Cannot be started again."""
        self._is_closed = True
        self.stop()
        if self._source is not None and (self._thread is None or not self._thread.is_alive()):
            self._source.close()

    def _run(self, stop: threading.Event, predecessor: threading.Thread | None) -> None:
        # Never two threads in one source: wait for one that hung through the last stop.
        while predecessor is not None and predecessor.is_alive():
            if stop.wait(self._period_s):
                return
        due_ns = time.monotonic_ns()
        while not stop.is_set():
            state = self._read()
            if stop.is_set():  # what a reading brings that outlasted its run is old news
                return
            self._accept(state)
            # A fixed raster: the time of the reading does not lengthen the period. After a long one it starts
            # anew.
            due_ns = max(due_ns + int(self._period_s * 1e9), time.monotonic_ns())
            stop.wait((due_ns - time.monotonic_ns()) / 1e9)

    def _accept(self, state: ThermalState) -> None:
        previous = self._latest[0]
        self._latest = (state, self._clock())
        if _figures(previous) != _figures(state):
            self._changed_ns = self._clock()
        self._log.note(state)
        if self._on_flip is not None and _conditions(previous) != _conditions(state):
            try:
                self._on_flip(state)
            except Exception:  # a listener's fault must not end the telemetry
                _LOGGER.exception("the listener for thermal changes failed")

    def _read(self) -> ThermalState:
        if self._source is None:
            return self._latest[0]
        try:
            return plausible_state(self._source.read())
        except TelemetryUnavailableError as error:
            cause = str(error)
        except Exception as error:  # a source's bug must not end the telemetry
            cause = f"{type(error).__name__}: {error}"
        return ThermalState(cause=f"{self._source.name}: {cause}")


def _figures(state: ThermalState) -> str:
    # As text, because NaN is not equal to itself.
    return f"{state.cpu_temperature_c} {state.gpu_temperature_c} {state.measured_clock_mhz}"


def _conditions(state: ThermalState) -> tuple[bool, bool]:
    return state.is_telemetry_available, state.thermal_throttle_active
