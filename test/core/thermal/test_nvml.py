"""The NVML source against a scripted library, and against the real package on this machine."""

# The scripted library has the function names of the real one.
# ruff: noqa: N802

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from manual_clock import ManualClock

from gps_denied_inference.core.errors import TelemetryUnavailableError
from gps_denied_inference.core.thermal.nvml import NvmlSource, throttle_causes


class ScriptedLibrary(SimpleNamespace):
    """The functions of `pynvml` that the source uses."""

    def __init__(self, reasons: int = 0, temperature_c: int = 61) -> None:
        super().__init__()
        self.reasons = reasons
        self.temperature_c = temperature_c
        self.failure: Exception | None = None
        self.reasons_failure: Exception | None = None
        self.open_count = 0

    def nvmlInit(self) -> None:
        self.open_count += 1

    def nvmlShutdown(self) -> None:
        self.open_count -= 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return f"gpu{index}"

    def nvmlDeviceGetTemperature(self, device: str, sensor: int) -> int:
        if self.failure is not None:
            raise self.failure
        assert (device, sensor) == ("gpu0", 0)
        return self.temperature_c

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, device: str) -> int:
        if self.reasons_failure is not None:
            raise self.reasons_failure
        return self.reasons

    def nvmlDeviceGetTemperatureThreshold(self, device: str, threshold: int) -> int:
        assert threshold == 1
        return 90

    def nvmlDeviceGetClockInfo(self, device: str, kind: int) -> int:
        assert kind == 1
        return 1980


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        (0x0, ()),
        (0x1, ()),
        (0x2 | 0x10 | 0x100, ()),
        (0x4, ("power cap",)),
        (0x20, ("thermal slowdown by software",)),
        (0x8 | 0x40, ("thermal slowdown by hardware",)),
        (0x8 | 0x80, ("power brake by hardware",)),
        (0x8, ("hardware slowdown, unspecified",)),
        (0x4 | 0x20, ("thermal slowdown by software", "power cap")),
        (0x200, ("board power limit",)),
        (0x400, ()),
    ],
)
def test_clock_event_reasons_are_told_apart(reasons: int, expected: tuple[str, ...]) -> None:
    assert throttle_causes(reasons) == expected


def test_reason_bits_are_those_of_the_real_package() -> None:
    nvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    assert throttle_causes(nvml.nvmlClocksThrottleReasonSwPowerCap) == ("power cap",)
    assert throttle_causes(nvml.nvmlClocksThrottleReasonSwThermalSlowdown) == ("thermal slowdown by software",)
    assert throttle_causes(nvml.nvmlClocksThrottleReasonHwThermalSlowdown) == ("thermal slowdown by hardware",)
    assert throttle_causes(nvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown) == ("power brake by hardware",)
    assert throttle_causes(nvml.nvmlClocksThrottleReasonHwSlowdown) == ("hardware slowdown, unspecified",)
    assert throttle_causes(nvml.nvmlClocksThrottleReasonBoardLimit) == ("board power limit",)
    assert throttle_causes(nvml.nvmlClocksThrottleReasonGpuIdle) == ()
    assert throttle_causes(nvml.nvmlClocksThrottleReasonReliability) == ()
    assert (nvml.NVML_TEMPERATURE_GPU, nvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN, nvml.NVML_CLOCK_SM) == (
        0,
        1,
        1,
    )


def test_reading_carries_temperature_clock_and_time() -> None:
    state = NvmlSource(nvml=ScriptedLibrary(), clock=ManualClock(3.0)).read()
    assert (state.gpu_temperature_c, state.measured_clock_mhz) == (61.0, 1980.0)
    assert math.isnan(state.cpu_temperature_c)
    assert (state.measured_at_ns, state.source, state.cause) == (3_000_000_000, "nvml", "")
    assert not state.thermal_throttle_active


def test_thermal_slowdown_names_its_threshold() -> None:
    state = NvmlSource(nvml=ScriptedLibrary(reasons=0x20, temperature_c=91)).read()
    assert state.thermal_throttle_active
    assert "thermal slowdown by software" in state.cause
    assert "91 °C, slowdown threshold 90 °C" in state.cause


def test_failed_library_is_closed_and_opened_anew() -> None:
    library = ScriptedLibrary()
    source = NvmlSource(nvml=library)
    source.read()
    library.failure = RuntimeError("GPU is lost")
    with pytest.raises(TelemetryUnavailableError, match="GPU is lost") as caught:
        source.read()
    assert caught.value.__cause__ is library.failure
    assert library.open_count == 0
    library.failure = None
    assert source.read().is_telemetry_available
    source.close()
    source.close()
    assert library.open_count == 0


def test_gpu_without_a_threshold_or_a_clock_still_tells_whether_it_throttles(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_available(self: ScriptedLibrary, device: str, kind: int) -> int:
        raise RuntimeError("N/A")

    monkeypatch.setattr(ScriptedLibrary, "nvmlDeviceGetTemperatureThreshold", not_available)
    monkeypatch.setattr(ScriptedLibrary, "nvmlDeviceGetClockInfo", not_available)
    state = NvmlSource(nvml=ScriptedLibrary(reasons=0x20)).read()
    assert state.is_telemetry_available and state.thermal_throttle_active
    assert math.isnan(state.measured_clock_mhz)
    assert state.cause == "thermal slowdown by software"


def test_gpu_without_clock_event_reasons_claims_nothing() -> None:
    library = ScriptedLibrary()
    library.reasons_failure = RuntimeError("not supported")
    with pytest.raises(TelemetryUnavailableError, match="not supported"):
        NvmlSource(nvml=library).read()


def test_real_library_delivers_a_reading_or_says_what_is_missing() -> None:
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    source = NvmlSource()
    refusal: TelemetryUnavailableError | None = None
    try:
        state = source.read()
    except TelemetryUnavailableError as error:
        refusal = error
    finally:
        source.close()
    if refusal is None:
        assert 0 < state.gpu_temperature_c < 120
    else:
        assert "nvidia-smi" in str(refusal)
        assert refusal.__cause__ is not None
