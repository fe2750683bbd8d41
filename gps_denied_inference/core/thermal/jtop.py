"""Thermal state through jetson-stats' service (module `jtop`).

jetson-stats is AGPL-3.0: optional, and imported only when this source is asked for or `auto` tries it.
jetson-stats gives temperatures and clocks, but not whether anything throttles; that comes from sysfs.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gps_denied_inference.core.contracts import ThermalState
from gps_denied_inference.core.errors import RuntimeNotAvailableError, TelemetryUnavailableError
from gps_denied_inference.core.optional import require
from gps_denied_inference.core.thermal.plausibility import is_plausible_temperature
from gps_denied_inference.core.thermal.sysfs import SYSFS_ROOT, ThrottleEvidence, zone_temperatures

__all__ = ["JtopSource"]

# The service sends once per interval (1 s by default); three missed ones mean that it is gone.
_SERVICE_INTERVAL_S = 0.5
_SILENT_AFTER_NS = 3_000_000_000
# A client costs a thread and a scan of the installed libraries, so a dead service is not asked at every
# reading.
_RECONNECT_AFTER_NS = 5_000_000_000


class JtopSource:
    """Reads the jtop service (jetson-stats 7; its client is a thread that receives what the service sends).

    A missing or foreign service, another version, keys that a board lacks, and a client that dies later are
    all reported as unavailable telemetry; a new client is tried after 5 s.

    Args:
        sysfs_root: where throttling is read.
        clock: steady clock, ns.
        jtop: the module; tests give their own.
    """

    name = "jtop"

    def __init__(
        self,
        sysfs_root: Path = SYSFS_ROOT,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        jtop: Any | None = None,
    ) -> None:
        self._sysfs_root = sysfs_root
        self._clock = clock
        self._module = jtop
        self._evidence = ThrottleEvidence(sysfs_root)
        self._client: Any | None = None
        self._received_ns = 0
        self._next_attempt_ns: int | None = None
        self._last_failure = ""

    def read(self) -> ThermalState:
        """Take what the service sent last.

        Raises:
            TelemetryUnavailableError: package, service, or a usable temperature is missing, or throttling
                could not be told because sysfs shows no cooling devices, trip points or over-current
                counters.
        """
        try:
            client = self._connected()
            if not client.ok(spin=True):
                raise TelemetryUnavailableError("the jtop client has stopped")
            silence_ns = self._clock() - self._received_ns
            if silence_ns > _SILENT_AFTER_NS:
                raise TelemetryUnavailableError(f"the jtop service has been silent for {silence_ns / 1e9:.1f} s")
            return self._state(client)
        except (TelemetryUnavailableError, RuntimeNotAvailableError) as error:
            self._give_up(str(error))
            raise TelemetryUnavailableError(str(error)) from error
        # jetson-stats raises JtopException, OSError, EOFError, KeyError, AttributeError … depending on what
        # is missing.
        except Exception as error:
            reason = f"jtop failed: {type(error).__name__}: {' '.join(str(error).split())}"
            self._give_up(reason)
            raise TelemetryUnavailableError(reason) from error

    def close(self) -> None:
        """Stop the client."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):  # a client that never started cannot be closed
                client.close()

    def _connected(self) -> Any:
        if self._client is not None:
            return self._client
        now_ns = self._clock()
        if self._next_attempt_ns is not None and now_ns < self._next_attempt_ns:
            raise TelemetryUnavailableError(self._last_failure)
        # Set first: whatever fails from here on is not tried again at once.
        self._next_attempt_ns = now_ns + _RECONNECT_AFTER_NS
        if not self._evidence.is_available():
            raise TelemetryUnavailableError(
                f"jtop does not tell throttling, and '{self._sysfs_root}' shows no cooling devices, trip "
                "points or over-current counters; give the container the host's /sys"
            )
        if self._module is None:
            self._module = require("jtop", install="pip install jetson-stats", purpose="the jtop thermal source")
        client = self._module.jtop(interval=_SERVICE_INTERVAL_S)
        self._client = client
        client.attach(self._on_data)
        client.start()
        self._received_ns = self._clock()
        return client

    def _on_data(self, _client: object) -> None:
        self._received_ns = self._clock()

    def _give_up(self, reason: str) -> None:
        self._last_failure = reason
        self.close()

    def _state(self, client: Any) -> ThermalState:
        cpu_c, gpu_c, doubts = _temperatures(client.temperature)
        if math.isnan(cpu_c) and math.isnan(gpu_c):
            detail = "; ".join(doubts) or f"sensors: {', '.join(map(str, client.temperature)) or 'none'}"
            raise TelemetryUnavailableError(f"jtop reports no usable CPU or GPU temperature ({detail})")
        zones, _ = zone_temperatures(self._sysfs_root)
        causes = self._evidence.causes(zones)
        return ThermalState(
            cpu_temperature_c=cpu_c,
            gpu_temperature_c=gpu_c,
            thermal_throttle_active=bool(causes),
            measured_clock_mhz=_clock_mhz(client),
            measured_at_ns=self._received_ns,
            is_telemetry_available=True,
            cause="; ".join((*causes, *doubts)),
            source=self.name,
        )


def _temperatures(sensors: Mapping[str, Mapping[str, Any]]) -> tuple[float, float, tuple[str, ...]]:
    """Hottest CPU (else `tj` or SoC) and GPU sensor, °C, and a remark on each implausible one.

    An offline sensor has `online` False and -256 °C; Thor's powered-down ones lack keys.
    """
    found: dict[str, list[float]] = {"cpu": [], "gpu": [], "tj": [], "soc": []}
    doubts = []
    for name, sensor in sensors.items():
        kind = next((kind for kind in ("gpu", "cpu", "tj", "soc") if kind in str(name).lower()), None)
        if kind is None or not sensor.get("online", True):
            continue
        temperature_c = float(sensor.get("temp", math.nan))
        if is_plausible_temperature(temperature_c):
            found[kind].append(temperature_c)
        elif kind in ("cpu", "gpu"):
            doubts.append(f"implausible temperature of {name}: {temperature_c:g} °C")
    cpu = found["cpu"] or found["tj"] or found["soc"]
    return max(cpu, default=math.nan), max(found["gpu"], default=math.nan), tuple(doubts)


def _clock_mhz(client: Any) -> float:
    """Clock of the fastest GPU, else of the fastest core (both in kHz); NaN where the board does not tell."""
    with contextlib.suppress(Exception):  # keys differ between boards; a clock is nice to have
        clocks_khz = [float(gpu["freq"]["cur"]) for gpu in client.gpu.values() if gpu.get("freq", {}).get("cur")]
        if clocks_khz:
            return max(clocks_khz) / 1000.0
    with contextlib.suppress(Exception):
        cores_khz = [float(core["freq"]["cur"]) for core in client.cpu["cpu"] if core.get("freq", {}).get("cur")]
        if cores_khz:
            return max(cores_khz) / 1000.0
    return math.nan
