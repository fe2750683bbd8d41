import threading

import pytest

from gps_denied_inference.core.pipeline import HangState, HangWatchdog


class Bench:
    def __init__(self, reload_error: Exception | None = None) -> None:
        self.now_ns = 0
        self.busy_s = 0.0
        self.deadline_s = 1.0
        self.abandoned = 0
        self.is_abandonable = True
        self.gate = threading.Semaphore(0)
        self.done = threading.Semaphore(0)
        self.told: list[str] = []
        self.recovered = 0
        self.given_up: list[str] = []
        self._reload_error = reload_error
        self.watchdog = HangWatchdog(
            busy_s=lambda: self.busy_s,
            deadline_s=lambda: self.deadline_s,
            abandon=self._abandon,
            reload=self._reload,
            on_hang=self.told.append,
            on_recovery=self._recover,
            give_up=self._give_up,
            reload_timeout_s=10.0,
            clock=lambda: self.now_ns,
        )

    def state(self) -> HangState:
        return self.watchdog.state

    def let_reload_end(self) -> None:
        self.gate.release()
        assert self.done.acquire(timeout=20.0)

    def _abandon(self) -> bool:
        self.abandoned += self.is_abandonable
        return self.is_abandonable

    def _reload(self) -> None:
        assert self.gate.acquire(timeout=20.0)
        if self._reload_error is not None:
            raise self._reload_error

    def _recover(self) -> None:
        self.recovered += 1
        self.done.release()

    def _give_up(self, reason: str) -> None:
        self.given_up.append(reason)
        self.done.release()


def test_call_within_its_deadline_is_left_alone() -> None:
    bench = Bench()
    bench.busy_s = 1.0
    bench.watchdog.check()
    assert bench.abandoned == 0 and bench.state() is HangState.HEALTHY and bench.watchdog.complaint == ""


def test_no_deadline_waits_for_ever() -> None:
    bench = Bench()
    bench.busy_s, bench.deadline_s = 1e9, 0.0
    bench.watchdog.check()
    assert bench.abandoned == 0


def test_call_that_returned_in_the_last_moment_is_no_hang() -> None:
    bench = Bench()
    bench.busy_s, bench.is_abandonable = 1.5, False
    bench.watchdog.check()
    assert bench.state() is HangState.HEALTHY and not bench.told


def test_hung_call_is_abandoned_and_the_engine_loaded_again() -> None:
    bench = Bench()
    bench.busy_s = 1.5
    bench.watchdog.check()
    assert bench.abandoned == 1 and bench.state() is HangState.RELOADING
    assert "has not returned for 1500 ms (infer_deadline_ms is 1000)" in bench.told[0]
    bench.watchdog.check()
    assert bench.abandoned == 1, "while it is loaded nothing else is given up"
    bench.let_reload_end()
    assert bench.recovered == 1 and bench.watchdog.reloads == 1
    assert bench.state() is HangState.HEALTHY and bench.watchdog.complaint == "" and not bench.given_up


def test_second_hang_ends_the_process() -> None:
    bench = Bench()
    bench.busy_s = 1.5
    bench.watchdog.check()
    bench.let_reload_end()
    bench.watchdog.check()
    assert bench.abandoned == 2 and bench.state() is HangState.GIVEN_UP
    assert len(bench.given_up) == 1 and "loaded again once already" in bench.given_up[0]
    bench.watchdog.check()
    assert len(bench.given_up) == 1


@pytest.mark.parametrize("error", [ValueError("disk"), RuntimeError("driver")])
def test_engine_that_cannot_be_loaded_again_ends_the_process(error: Exception) -> None:
    bench = Bench(error)
    bench.busy_s = 1.5
    bench.watchdog.check()
    bench.let_reload_end()
    assert f"could not be loaded again ({error})" in bench.given_up[0] and bench.recovered == 0


def test_loading_that_hangs_ends_the_process_and_its_late_end_changes_nothing() -> None:
    bench = Bench()
    bench.busy_s = 1.5
    bench.watchdog.check()
    bench.now_ns = 11 * 10**9
    bench.watchdog.check()
    assert "has not ended after 10 s" in bench.given_up[0]
    bench.gate.release()
    bench.watchdog.check()
    assert bench.state() is HangState.GIVEN_UP and len(bench.given_up) == 1 and bench.recovered == 0


def test_process_that_stood_still_gives_the_call_its_deadline_again() -> None:
    bench = Bench()
    bench.watchdog.check()
    bench.now_ns, bench.busy_s = 5 * 10**9, 4.9
    bench.watchdog.check()
    assert bench.abandoned == 0
    for tenth in range(1, 13):
        bench.now_ns, bench.busy_s = (50 + tenth) * 10**8, 4.9 + tenth / 10
        bench.watchdog.check()
        assert bench.abandoned == (1 if tenth > 10 else 0)
