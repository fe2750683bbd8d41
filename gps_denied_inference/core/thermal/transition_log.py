"""What the log says about thermal changes: each throttle once, lost telemetry at most twice a minute."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from gps_denied_inference.core.contracts import ThermalState

__all__ = ["TransitionLog"]

_REPEAT_AFTER_NS = 30_000_000_000


class TransitionLog:
    """Compares each state with the last one and logs what changed. Thread-safe.

    Args:
        logger: where to.
        clock: steady clock, ns.
    """

    def __init__(self, logger: logging.Logger, clock: Callable[[], int]) -> None:
        self._logger = logger
        self._clock = clock
        self._is_throttling = False
        self._loss_logged_ns: int | None = None
        self._is_loss_announced = False
        self._suppressed = 0
        self._lock = threading.Lock()

    def note(self, state: ThermalState) -> None:
        """Log start (WARN) and end (INFO) of throttling, loss (WARN, limited) and return of telemetry."""
        with self._lock:
            self._note(state)

    def _note(self, state: ThermalState) -> None:
        if not state.is_telemetry_available:
            self._note_loss(state.cause)
            return
        if self._is_loss_announced:
            self._is_loss_announced = False
            self._logger.info("thermal telemetry is back (%s)", state.source)
        if state.thermal_throttle_active != self._is_throttling:
            self._is_throttling = state.thermal_throttle_active
            figures = (state.cpu_temperature_c, state.gpu_temperature_c, state.measured_clock_mhz)
            if self._is_throttling:
                self._logger.warning(
                    "throttling begins: %s (CPU %.1f °C, GPU %.1f °C, clock %.0f MHz)",
                    state.cause or "cause unknown",
                    *figures,
                )
            else:
                self._logger.info("throttling has ended (CPU %.1f °C, GPU %.1f °C, clock %.0f MHz)", *figures)

    def _note_loss(self, cause: str) -> None:
        now_ns = self._clock()
        if self._loss_logged_ns is not None and now_ns - self._loss_logged_ns < _REPEAT_AFTER_NS:
            self._suppressed += 1
            return
        suppressed = f" ({self._suppressed} more since the last message)" if self._suppressed else ""
        self._logger.warning("no thermal telemetry: %s%s", cause, suppressed)
        self._loss_logged_ns = now_ns
        self._is_loss_announced = True
        self._suppressed = 0
