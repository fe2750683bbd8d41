"""The jtop source against a scripted client, and against the real package without its service."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from manual_clock import ManualClock
from sysfs_trees import build_orin, set_value

from gps_denied_inference.core.errors import TelemetryUnavailableError
from gps_denied_inference.core.thermal.jtop import JtopSource


class Client:
    """What the source uses of `jtop.jtop` (jetson-stats 7.2)."""

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self.observer: Callable[[object], None] = lambda _client: None
        self.temperature: dict[str, dict[str, Any]] = {
            "cpu": {"temp": 51.5, "online": True},
            "gpu": {"temp": 49.0, "online": True},
            "cv0": {"temp": -256, "online": False},
            "tj": {"temp": 52.0, "online": True},
        }
        self.gpu: dict[str, dict[str, Any]] = {"gpu": {"type": "integrated", "freq": {"cur": 918000, "max": 1020000}}}
        self.cpu: dict[str, Any] = {"cpu": [{"online": True, "freq": {"cur": 1510400}}, {"online": False}]}
        self.is_ok = True
        self.start_failure: Exception | None = None
        self.is_closed = False

    def attach(self, observer: Callable[[object], None]) -> None:
        self.observer = observer

    def start(self) -> None:
        if self.start_failure is not None:
            raise self.start_failure

    def ok(self, spin: bool = False) -> bool:
        assert spin, "a blocking ok() would hold up the polling thread"
        return self.is_ok

    def close(self) -> None:
        self.is_closed = True


class Service:
    """Makes clients, and remembers them."""

    def __init__(self, **changes: Any) -> None:
        self.changes = changes
        self.clients: list[Client] = []
        self.module = SimpleNamespace(jtop=self.connect)

    def connect(self, interval: float) -> Client:
        client = Client(interval)
        for name, value in self.changes.items():
            setattr(client, name, value)
        self.clients.append(client)
        return client


def test_reading_joins_the_services_temperatures_with_throttling_from_sysfs(tmp_path: Path) -> None:
    service, root = Service(), build_orin(tmp_path)
    source = JtopSource(root, clock=ManualClock(), jtop=service.module)
    state = source.read()
    assert (state.cpu_temperature_c, state.gpu_temperature_c, state.measured_clock_mhz) == (51.5, 49.0, 918.0)
    assert (state.source, state.thermal_throttle_active) == ("jtop", False)
    set_value(root, "class/thermal/cooling_device1/cur_state", 2)
    state = source.read()
    assert state.thermal_throttle_active
    assert "devfreq-17000000.gpu" in state.cause
    source.close()
    assert service.clients[0].is_closed


def test_board_that_lacks_keys_still_gives_what_it_has(tmp_path: Path) -> None:
    service = Service(temperature={"tj": {"temp": 60.0}, "gpu": {"online": False}}, gpu={"gpu": {}}, cpu={})
    state = JtopSource(build_orin(tmp_path), clock=ManualClock(), jtop=service.module).read()
    assert state.is_telemetry_available
    assert state.cpu_temperature_c == 60.0


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": {}},
        {"temperature": None},
        {"temperature": {"cpu": {"temp": -256}, "gpu": {"temp": 400}}},
        {"start_failure": RuntimeError("Mismatch version jtop service: [6.0.0] and client: [7.2.2]")},
        {"start_failure": PermissionError(13, "denied")},
        {"start_failure": EOFError()},
        {"is_ok": False},
    ],
)
def test_every_failure_becomes_unavailable_telemetry_and_closes_the_client(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    service = Service(**changes)
    with pytest.raises(TelemetryUnavailableError):
        JtopSource(build_orin(tmp_path), clock=ManualClock(), jtop=service.module).read()
    assert service.clients[0].is_closed


def test_dead_client_is_replaced_but_not_at_every_reading(tmp_path: Path) -> None:
    clock, service = ManualClock(), Service(start_failure=ConnectionRefusedError(111, "refused"))
    source = JtopSource(build_orin(tmp_path), clock=clock, jtop=service.module)
    for _ in range(4):
        with pytest.raises(TelemetryUnavailableError, match="refused"):
            source.read()
        clock.advance(1.0)
    assert len(service.clients) == 1
    service.changes = {}
    clock.advance(1.5)
    assert source.read().is_telemetry_available
    assert len(service.clients) == 2


def test_silent_service_is_noticed_although_its_last_values_remain(tmp_path: Path) -> None:
    clock, service = ManualClock(), Service()
    source = JtopSource(build_orin(tmp_path), clock=clock, jtop=service.module)
    source.read()
    clock.advance(2.0)
    service.clients[0].observer(None)
    clock.advance(2.0)
    assert source.read().is_telemetry_available
    clock.advance(2.0)
    with pytest.raises(TelemetryUnavailableError, match=r"silent for 4\.0 s"):
        source.read()


def test_without_anything_in_sysfs_that_shows_throttling_jtop_is_refused(tmp_path: Path) -> None:
    service = Service()
    with pytest.raises(TelemetryUnavailableError, match="does not tell throttling"):
        JtopSource(tmp_path, clock=ManualClock(), jtop=service.module).read()
    assert service.clients == []


# Away from a Jetson the thread in which jetson-stats lists the board's libraries dies of its own error.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_real_client_without_its_service_is_survived(tmp_path: Path) -> None:
    pytest.importorskip("jtop", reason="jetson-stats (optional) is not installed")
    source = JtopSource(build_orin(tmp_path))
    with pytest.raises(TelemetryUnavailableError, match="jtop"):
        source.read()
    source.close()
