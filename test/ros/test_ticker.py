"""A ticker goes on through errors and ends when it is told to."""

from __future__ import annotations

import logging
import threading

import pytest

from gps_denied_inference.ros.ticker import Ticker


def test_ticker_goes_on_after_an_error_and_calls_no_more_after_its_end(caplog: pytest.LogCaptureFixture) -> None:
    calls, third = [], threading.Event()

    def call() -> None:
        calls.append(threading.current_thread().name)
        if len(calls) == 3:
            third.set()
        raise ValueError("no telemetry")

    with caplog.at_level(logging.ERROR, "gps_denied_inference.ticker"):
        ticker = Ticker("watchdog", 0.001, call)
        assert third.wait(10.0)
        ticker.end()
    count = len(calls)
    ticker.end()
    assert set(calls) == {"watchdog"}
    assert "no telemetry" in caplog.text
    assert threading.Event().wait(0.02) is False
    assert len(calls) == count


def test_ticker_may_be_ended_by_its_own_call() -> None:
    ended, tickers = threading.Event(), list[Ticker]()

    def call() -> None:
        if tickers:
            tickers[0].end()
            ended.set()

    tickers.append(Ticker("watchdog", 0.001, call))
    assert ended.wait(10.0)
    tickers[0].end()
