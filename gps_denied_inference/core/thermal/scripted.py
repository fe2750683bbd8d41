"""A thermal timeline from a YAML file: for demonstrations and tests, never chosen automatically."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import yaml

from gps_denied_inference.core.contracts import ThermalState
from gps_denied_inference.core.errors import SettingsError, TelemetryUnavailableError

__all__ = ["ScriptedSource", "TimelineStep", "load_timeline"]

_NUMBERS = ("cpu_temperature_c", "gpu_temperature_c", "clock_mhz")
_STEP_KEYS = ("at_s", *_NUMBERS, "throttle", "telemetry", "cause")


@dataclass(frozen=True, slots=True)
class TimelineStep:
    """What holds from `at_s` on; temperatures run in a straight line to the next step, all else jumps."""

    at_s: float
    cpu_temperature_c: float = math.nan
    gpu_temperature_c: float = math.nan
    clock_mhz: float = math.nan
    throttle: bool = False
    telemetry: bool = True
    cause: str = ""


class ScriptedSource:
    """Plays a timeline, starting at the first reading.

    Args:
        steps: ascending in time, the first at 0.
        repeat_after_s: the timeline starts over after this time; None: the last step holds for ever.
        clock: steady clock, ns.
    """

    name = "scripted"

    def __init__(
        self,
        steps: Sequence[TimelineStep],
        *,
        repeat_after_s: float | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        times = [step.at_s for step in steps]
        if not times or times[0] != 0 or any(later <= earlier for earlier, later in pairwise(times)):
            raise SettingsError("steps.at_s", times, "ascending seconds, the first 0")
        if repeat_after_s is not None and not times[-1] < repeat_after_s < math.inf:
            raise SettingsError("repeat_after_s", repeat_after_s, f"more than the last step's {times[-1]:g} s")
        self._steps = tuple(steps)
        self._repeat_after_s = repeat_after_s
        self._clock = clock
        self._started_ns: int | None = None

    @classmethod
    def from_file(cls, path: Path, *, clock: Callable[[], int] = time.monotonic_ns) -> ScriptedSource:
        """Read a timeline file.

        Raises:
            SettingsError: the file is missing or malformed; names the field.
        """
        steps, repeat_after_s = load_timeline(path)
        return cls(steps, repeat_after_s=repeat_after_s, clock=clock)

    def read(self) -> ThermalState:
        """What the timeline says now.

        Raises:
            TelemetryUnavailableError: the step has `telemetry: false`.
        """
        now_ns = self._clock()
        if self._started_ns is None:
            self._started_ns = now_ns
        elapsed_s = (now_ns - self._started_ns) / 1e9
        if self._repeat_after_s is not None:
            elapsed_s %= self._repeat_after_s
        index = max(i for i, step in enumerate(self._steps) if step.at_s <= elapsed_s or i == 0)
        step = self._steps[index]
        if not step.telemetry:
            raise TelemetryUnavailableError(step.cause or "the timeline has no telemetry here")
        following = self._steps[index + 1] if index + 1 < len(self._steps) else step
        return ThermalState(
            cpu_temperature_c=_between(step, following, elapsed_s, step.cpu_temperature_c, following.cpu_temperature_c),
            gpu_temperature_c=_between(step, following, elapsed_s, step.gpu_temperature_c, following.gpu_temperature_c),
            thermal_throttle_active=step.throttle,
            measured_clock_mhz=step.clock_mhz,
            measured_at_ns=now_ns,
            is_telemetry_available=True,
            cause=step.cause,
            source=self.name,
        )

    def close(self) -> None:
        """Nothing is held open."""


def load_timeline(path: Path) -> tuple[tuple[TimelineStep, ...], float | None]:
    """Parse a timeline file into its steps and its repetition time, seconds.

    Raises:
        SettingsError: the file is missing, is no YAML, or has a wrong key or value.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(
            "thermal timeline", str(path), f"a readable YAML file ({' '.join(str(error).split())})"
        ) from error
    if not isinstance(document, Mapping) or not set(document) <= {"steps", "repeat_after_s"}:
        raise SettingsError("thermal timeline", str(path), "a mapping with 'steps' and perhaps 'repeat_after_s'")
    entries = document.get("steps")
    if not isinstance(entries, list) or not entries:
        raise SettingsError("steps", entries, "a list of steps, at least one")
    repeat = document.get("repeat_after_s")
    repeat_after_s = None if repeat is None else _number("repeat_after_s", repeat)
    return tuple(_step(index, entry) for index, entry in enumerate(entries)), repeat_after_s


def _step(index: int, entry: object) -> TimelineStep:
    where = f"steps[{index}]"
    if not isinstance(entry, Mapping) or "at_s" not in entry or not set(entry) <= set(_STEP_KEYS):
        raise SettingsError(where, entry, f"a mapping with 'at_s' and any of {', '.join(_STEP_KEYS[1:])}")
    numbers = {key: _number(f"{where}.{key}", entry.get(key, math.nan)) for key in _NUMBERS}
    flags = {"throttle": entry.get("throttle", False), "telemetry": entry.get("telemetry", True)}
    for key, value in flags.items():
        if not isinstance(value, bool):
            raise SettingsError(f"{where}.{key}", value, "true or false")
    return TimelineStep(
        at_s=_number(f"{where}.at_s", entry["at_s"]),
        cpu_temperature_c=numbers["cpu_temperature_c"],
        gpu_temperature_c=numbers["gpu_temperature_c"],
        clock_mhz=numbers["clock_mhz"],
        throttle=bool(flags["throttle"]),
        telemetry=bool(flags["telemetry"]),
        cause=str(entry.get("cause", "")),
    )


def _number(field: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingsError(field, value, "a number")
    return float(value)


def _between(step: TimelineStep, following: TimelineStep, elapsed_s: float, start: float, end: float) -> float:
    """Straight line between two steps; no line towards a gap in the telemetry or an unknown value."""
    if following is step or not following.telemetry or math.isnan(end):
        return start
    return start + (end - start) * (elapsed_s - step.at_s) / (following.at_s - step.at_s)
