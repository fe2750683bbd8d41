"""Thermal state of an NVIDIA GPU from NVML (package `nvidia-ml-py`, module `pynvml`)."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from typing import Any

from gps_denied_inference.core.contracts import ThermalState
from gps_denied_inference.core.errors import RuntimeNotAvailableError, TelemetryUnavailableError
from gps_denied_inference.core.optional import require

__all__ = ["NvmlSource", "throttle_causes"]

# Bits of nvmlDeviceGetCurrentClocksEventReasons (nvml.h, "NvmlClocksEventReasons"). Written out because their
# names changed from ...ThrottleReason... to ...EventReason... between releases while the values are fixed by
# the ABI. Idle (0x1), application clocks (0x2), sync boost (0x10) and display clock (0x100) are choices, not
# throttling; reliability (0x400) is the voltage's limit, which any GPU meets at its highest clock.
_SOFTWARE_POWER_CAP = 0x4
_HARDWARE_SLOWDOWN = 0x8
_SOFTWARE_THERMAL = 0x20
_HARDWARE_THERMAL = 0x40
_POWER_BRAKE = 0x80
_BOARD_LIMIT = 0x200

_SPECIFIC_CAUSES = (
    (_SOFTWARE_THERMAL, "thermal slowdown by software"),
    (_HARDWARE_THERMAL, "thermal slowdown by hardware"),
    (_SOFTWARE_POWER_CAP, "power cap"),
    (_POWER_BRAKE, "power brake by hardware"),
    (_BOARD_LIMIT, "board power limit"),
)

_TEMPERATURE_GPU = 0  # NVML_TEMPERATURE_GPU
_THRESHOLD_SLOWDOWN = 1  # NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
_CLOCK_SM = 1  # NVML_CLOCK_SM


def throttle_causes(reasons: int) -> tuple[str, ...]:
    """Clock event reasons that mean throttling, in words.

    The generic hardware slowdown is set beside the thermal and power brake bits; it is named only when it
    stands alone.
    """
    causes = tuple(text for bit, text in _SPECIFIC_CAUSES if reasons & bit)
    if reasons & _HARDWARE_SLOWDOWN and not reasons & (_HARDWARE_THERMAL | _POWER_BRAKE):
        causes = (*causes, "hardware slowdown, unspecified")
    return causes


class NvmlSource:
    """Reads one GPU. The library is opened at the first reading, and again after a failure.

    Args:
        gpu_index: NVML's index (PCI order; `CUDA_VISIBLE_DEVICES` does not change it).
        clock: steady clock, ns.
        nvml: the module; tests give their own.
    """

    name = "nvml"

    def __init__(
        self, gpu_index: int = 0, *, clock: Callable[[], int] = time.monotonic_ns, nvml: Any | None = None
    ) -> None:
        self._gpu_index = gpu_index
        self._clock = clock
        self._nvml = nvml
        self._device: Any | None = None

    def read(self) -> ThermalState:
        """Read temperature, clock and clock event reasons.

        Raises:
            TelemetryUnavailableError: the package, the driver, the GPU or one of the readings is missing. On
                Jetsons NVML does not offer clock event reasons: without them throttling cannot be told, so
                nothing is claimed.
        """
        try:
            return self._read(*self._open())
        except (TelemetryUnavailableError, RuntimeNotAvailableError) as error:
            raise TelemetryUnavailableError(str(error)) from error
        # pynvml's errors share no base with its library mismatch and function lookup errors.
        except Exception as error:
            self.close()
            raise TelemetryUnavailableError(
                f"NVML cannot read GPU {self._gpu_index}: {type(error).__name__}: {error}; check nvidia-smi"
            ) from error

    def close(self) -> None:
        """Shut the library down if it was opened."""
        device, self._device = self._device, None
        if device is None or self._nvml is None:
            return
        with contextlib.suppress(Exception):  # a library that fails to close is closed as far as we can tell
            self._nvml.nvmlShutdown()

    def _open(self) -> tuple[Any, Any]:
        if self._nvml is None:
            self._nvml = require("pynvml", install="pip install nvidia-ml-py", purpose="the nvml thermal source")
        if self._device is None:
            self._nvml.nvmlInit()
            try:
                self._device = self._nvml.nvmlDeviceGetHandleByIndex(self._gpu_index)
            except Exception:
                self._nvml.nvmlShutdown()
                raise
        return self._nvml, self._device

    def _read(self, nvml: Any, device: Any) -> ThermalState:
        temperature_c = float(_temperature(nvml, device))
        causes = throttle_causes(int(_reasons(nvml, device)))
        threshold_c = _or_nan(lambda: nvml.nvmlDeviceGetTemperatureThreshold(device, _THRESHOLD_SLOWDOWN))
        if causes and any("thermal" in cause for cause in causes) and not math.isnan(threshold_c):
            causes = (*causes, f"GPU at {temperature_c:.0f} °C, slowdown threshold {threshold_c:.0f} °C")
        return ThermalState(
            gpu_temperature_c=temperature_c,
            thermal_throttle_active=bool(causes),
            measured_clock_mhz=_or_nan(lambda: nvml.nvmlDeviceGetClockInfo(device, _CLOCK_SM)),
            measured_at_ns=self._clock(),
            is_telemetry_available=True,
            cause="; ".join(causes),
            source=self.name,
        )


def _temperature(nvml: Any, device: Any) -> int:
    """The versioned call where package and driver have it; drivers before CUDA 12.8 lack it."""
    versioned = getattr(nvml, "nvmlDeviceGetTemperatureV", None)
    if versioned is not None:
        with contextlib.suppress(Exception):  # the older call below says what is wrong, if anything
            return int(versioned(device, _TEMPERATURE_GPU))
    return int(nvml.nvmlDeviceGetTemperature(device, _TEMPERATURE_GPU))


def _reasons(nvml: Any, device: Any) -> int:
    current = getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", None)
    if current is not None:
        with contextlib.suppress(Exception):  # drivers before R535 know only the older name
            return int(current(device))
    return int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(device))


def _or_nan(reading: Callable[[], Any]) -> float:
    """A value that is nice to have."""
    try:
        return float(reading())
    except Exception:  # not supported on this GPU
        return math.nan
