"""The publisher: what it keeps, what it says when the source fails, lies or hangs."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable

import pytest
from manual_clock import ManualClock

from gps_denied_inference.core.contracts import ThermalPublisher, ThermalState
from gps_denied_inference.core.errors import SettingsError, TelemetryUnavailableError
from gps_denied_inference.core.thermal import ThermalSource, ThermalStatePublisher

LOGGER = "gps_denied_inference.thermal"
# Without NaN, which since Python 3.13 makes a state unequal to itself.
COOL = ThermalState(
    cpu_temperature_c=50.0,
    gpu_temperature_c=48.0,
    measured_clock_mhz=1300.0,
    is_telemetry_available=True,
    source="played",
    measured_at_ns=1,
)
HOT = ThermalState(
    cpu_temperature_c=99.0,
    gpu_temperature_c=97.0,
    measured_clock_mhz=600.0,
    thermal_throttle_active=True,
    is_telemetry_available=True,
    cause="gpu-throttle-alert",
    source="played",
)
WAIT_S = 20.0


class PlayedSource:
    """Answers with whatever `answer` returns or raises."""

    name = "played"

    def __init__(self, answer: Callable[[], ThermalState]) -> None:
        self.answer = answer
        self.close_count = 0

    def read(self) -> ThermalState:
        return self.answer()

    def close(self) -> None:
        self.close_count += 1


def refuse() -> ThermalState:
    raise TelemetryUnavailableError("sensor bus lost")


def break_down() -> ThermalState:
    raise KeyError("temp")


def _poll(publisher: ThermalStatePublisher) -> None:
    """Take one reading on this thread, as the polling thread does."""
    publisher._accept(publisher._read())


def test_publisher_satisfies_the_contract() -> None:
    source = PlayedSource(lambda: COOL)
    assert isinstance(source, ThermalSource)
    assert isinstance(ThermalStatePublisher(source), ThermalPublisher)


@pytest.mark.parametrize("poll_hz", [0.0, 0.19, 10.1, math.nan, -1.0])
def test_poll_rate_outside_its_range_is_refused(poll_hz: float) -> None:
    with pytest.raises(SettingsError, match=r"thermal_poll_hz.*0\.2 to 10"):
        ThermalStatePublisher(None, poll_hz)


def test_without_a_source_the_state_is_unknown_with_the_reason_for_ever() -> None:
    clock = ManualClock()
    with ThermalStatePublisher(None, clock=clock, source_reason="sysfs: no zones") as publisher:
        clock.advance(3600)
        state = publisher.snapshot()
    assert not state.is_telemetry_available
    assert not state.thermal_throttle_active
    assert state.cause == "sysfs: no zones"


def test_throttle_entry_and_exit_are_logged_once_and_reported_with_cause(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = PlayedSource(lambda: COOL)
    flips: list[ThermalState] = []
    publisher = ThermalStatePublisher(source, clock=ManualClock(), on_flip=flips.append)
    with caplog.at_level(logging.INFO, LOGGER):
        for state in (COOL, HOT, HOT, COOL, COOL):
            source.answer = lambda state=state: state  # type: ignore[misc]
            _poll(publisher)
            assert publisher.snapshot() == state
    assert [flip.thermal_throttle_active for flip in flips] == [False, True, False]
    assert flips[1].cause == "gpu-throttle-alert"
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.INFO]
    assert "gpu-throttle-alert" in caplog.records[0].getMessage()


@pytest.mark.parametrize("fault", [refuse, break_down])
def test_lost_telemetry_is_safe_and_ends_with_the_next_good_reading(
    fault: Callable[[], ThermalState],
) -> None:
    source = PlayedSource(lambda: HOT)
    flips: list[ThermalState] = []
    publisher = ThermalStatePublisher(source, clock=ManualClock(), on_flip=flips.append)
    _poll(publisher)
    source.answer = fault
    _poll(publisher)
    lost = publisher.snapshot()
    assert (lost.is_telemetry_available, lost.thermal_throttle_active) == (False, False)
    assert lost.cause.startswith("played: ")
    source.answer = lambda: COOL
    _poll(publisher)
    assert publisher.snapshot() == COOL
    assert [flip.is_telemetry_available for flip in flips] == [True, False, True]


def test_lost_telemetry_is_logged_at_most_every_thirty_seconds(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    source = PlayedSource(refuse)
    publisher = ThermalStatePublisher(source, clock=clock)
    with caplog.at_level(logging.INFO, LOGGER):
        for _ in range(61):
            _poll(publisher)
            clock.advance(0.5)
        source.answer = lambda: COOL
        _poll(publisher)
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.WARNING, logging.INFO]


@pytest.mark.parametrize("lie", [math.nan, -256.0, 150.1, math.inf, -math.inf])
def test_implausible_telemetry_is_unknown_with_a_cause(lie: float) -> None:
    state = ThermalState(
        cpu_temperature_c=lie,
        gpu_temperature_c=lie,
        thermal_throttle_active=True,
        is_telemetry_available=True,
        source="played",
    )
    publisher = ThermalStatePublisher(PlayedSource(lambda: state), clock=ManualClock())
    _poll(publisher)
    seen = publisher.snapshot()
    assert not seen.is_telemetry_available
    assert not seen.thermal_throttle_active
    assert "implausible" in seen.cause or "NaN" in seen.cause


def test_one_implausible_temperature_leaves_the_other_in_force() -> None:
    state = ThermalState(
        cpu_temperature_c=-256.0, gpu_temperature_c=97.0, thermal_throttle_active=True,
        is_telemetry_available=True, cause="power cap", source="played",
    )  # fmt: skip
    publisher = ThermalStatePublisher(PlayedSource(lambda: state), clock=ManualClock())
    _poll(publisher)
    seen = publisher.snapshot()
    assert seen.is_telemetry_available
    assert seen.thermal_throttle_active
    assert math.isnan(seen.cpu_temperature_c)
    assert seen.cause == "power cap; implausible CPU temperature -256 °C"


def test_snapshot_ages_and_says_so_until_a_reading_returns() -> None:
    clock = ManualClock()
    publisher = ThermalStatePublisher(PlayedSource(lambda: HOT), 2.0, clock=clock)
    _poll(publisher)
    clock.advance(1.5)
    assert publisher.snapshot() == HOT
    clock.advance(0.6)
    stale = publisher.snapshot()
    assert (stale.is_telemetry_available, stale.thermal_throttle_active) == (False, False)
    assert "no reading for 2.1 s" in stale.cause
    _poll(publisher)
    assert publisher.snapshot() == HOT


def test_hanging_source_hangs_neither_reader_nor_stop_and_its_late_answer_is_discarded() -> None:
    clock = ManualClock()
    entered, release = threading.Event(), threading.Event()

    def hang() -> ThermalState:
        entered.set()
        release.wait(WAIT_S)
        return HOT

    source = PlayedSource(hang)
    flips: list[ThermalState] = []
    publisher = ThermalStatePublisher(source, 10.0, clock=clock, on_flip=flips.append)
    publisher.start()
    assert entered.wait(WAIT_S)
    clock.advance(5.0)
    assert "no reading for 5.0 s" in publisher.snapshot().cause
    publisher.stop(timeout_s=0.05)
    thread = publisher._thread
    assert thread is not None
    assert thread.is_alive()
    release.set()
    thread.join(WAIT_S)
    assert not publisher.snapshot().is_telemetry_available
    assert flips == []
    publisher.close()
    assert source.close_count == 1


def test_restart_waits_for_a_reading_that_still_hangs() -> None:
    release, entered, answered = threading.Event(), threading.Event(), threading.Event()
    inside = 0
    most_inside = 0
    lock = threading.Lock()

    def answer() -> ThermalState:
        nonlocal inside, most_inside
        with lock:
            inside += 1
            most_inside = max(most_inside, inside)
        entered.set()
        release.wait(WAIT_S)
        with lock:
            inside -= 1
        return COOL

    def note(_state: ThermalState) -> None:
        answered.set()

    publisher = ThermalStatePublisher(PlayedSource(answer), 10.0, on_flip=note)
    publisher.start()
    assert entered.wait(WAIT_S)
    publisher.stop(timeout_s=0.01)
    publisher.start()
    assert not answered.is_set()
    release.set()
    assert answered.wait(WAIT_S)
    publisher.close()
    assert most_inside == 1


def test_start_stop_and_close_may_be_repeated() -> None:
    read = threading.Event()

    def answer() -> ThermalState:
        read.set()
        return COOL

    source = PlayedSource(answer)
    publisher = ThermalStatePublisher(source, 10.0)
    publisher.stop()
    running: list[bool] = []
    for _ in range(3):
        publisher.start()
        publisher.start()
        running.append(publisher.is_running)
        assert read.wait(WAIT_S)
        publisher.stop()
        publisher.stop()
        running.append(publisher.is_running)
        read.clear()
    assert running == [True, False] * 3
    publisher.close()
    publisher.close()
    publisher.start()
    assert not publisher.is_running
    assert source.close_count >= 1


def test_listener_that_raises_does_not_end_the_polling(caplog: pytest.LogCaptureFixture) -> None:
    def complain(_state: ThermalState) -> None:
        raise RuntimeError("listener")

    source = PlayedSource(lambda: COOL)
    publisher = ThermalStatePublisher(source, clock=ManualClock(), on_flip=complain)
    _poll(publisher)
    source.answer = lambda: HOT
    _poll(publisher)
    assert publisher.snapshot() == HOT
    assert sum(record.levelno == logging.ERROR for record in caplog.records) == 2


def test_context_manager_polls_and_closes_the_source() -> None:
    flipped = threading.Event()
    source = PlayedSource(lambda: HOT)
    with ThermalStatePublisher(source, 10.0, on_flip=lambda _state: flipped.set()) as publisher:
        assert flipped.wait(WAIT_S)
        assert publisher.snapshot().cause == "gpu-throttle-alert"
    assert source.close_count == 1


def test_readings_that_stand_still_are_counted_from_their_last_change() -> None:
    clock = ManualClock()
    source = PlayedSource(lambda: COOL)
    publisher = ThermalStatePublisher(source, clock=clock)
    for _ in range(3):
        _poll(publisher)
        clock.advance(1.0)
    assert publisher.seconds_unchanged() == pytest.approx(3.0)
    source.answer = lambda: HOT
    _poll(publisher)
    assert publisher.seconds_unchanged() == 0.0


def test_source_that_hangs_is_logged_by_whoever_observes_it(caplog: pytest.LogCaptureFixture) -> None:
    clock, hang, is_reading = ManualClock(), threading.Event(), threading.Event()

    def answer() -> ThermalState:
        if is_reading.is_set():
            hang.wait(WAIT_S)
        is_reading.set()
        return COOL

    with caplog.at_level(logging.INFO, LOGGER), ThermalStatePublisher(PlayedSource(answer), 10.0, clock=clock) as it:
        deadline = time.monotonic() + WAIT_S
        while not it.snapshot().is_telemetry_available and time.monotonic() < deadline:
            time.sleep(0.01)
        assert it.observe() == COOL
        clock.advance(5.0)
        state = it.observe()
        assert (state.is_telemetry_available, state.cause) == (False, "no reading for 5.0 s")
        it.observe()
        assert [record.message for record in caplog.records] == ["no thermal telemetry: no reading for 5.0 s"]
        hang.set()
