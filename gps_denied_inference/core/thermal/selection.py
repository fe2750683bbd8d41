"""Which thermal source this computer gets, and why."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

from gps_denied_inference.core.contracts import ThermalState
from gps_denied_inference.core.errors import SettingsError
from gps_denied_inference.core.thermal.jtop import JtopSource
from gps_denied_inference.core.thermal.nvml import NvmlSource
from gps_denied_inference.core.thermal.plausibility import plausible_state
from gps_denied_inference.core.thermal.scripted import ScriptedSource
from gps_denied_inference.core.thermal.source import ThermalSource
from gps_denied_inference.core.thermal.sysfs import SYSFS_ROOT, SysfsSource

__all__ = ["AUTOMATIC_ORDER", "SourceChoice", "create_source"]

AUTOMATIC_ORDER = ("jtop", "nvml", "sysfs")
"""What `auto` tries. `scripted` has to be asked for."""


class SourceChoice(NamedTuple):
    """The chosen source, or None, and the reason in words, with why the others were not chosen."""

    source: ThermalSource | None
    reason: str


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What the sources are made from."""

    clock: Callable[[], int]
    sysfs_root: Path
    gpu_index: int
    timeline: Path | None


def _scripted(surroundings: _Surroundings) -> ThermalSource:
    if surroundings.timeline is None:
        raise SettingsError("thermal timeline", None, "the path of a timeline file, needed by the source 'scripted'")
    return ScriptedSource.from_file(surroundings.timeline, clock=surroundings.clock)


_FACTORIES: Mapping[str, Callable[[_Surroundings], ThermalSource]] = MappingProxyType(
    {
        "jtop": lambda here: JtopSource(here.sysfs_root, clock=here.clock),
        "nvml": lambda here: NvmlSource(here.gpu_index, clock=here.clock),
        "sysfs": lambda here: SysfsSource(here.sysfs_root, clock=here.clock),
        "scripted": _scripted,
    }
)


def create_source(
    names: Sequence[str] | Literal["auto"] = "auto",
    *,
    clock: Callable[[], int] = time.monotonic_ns,
    sysfs_root: Path = SYSFS_ROOT,
    gpu_index: int = 0,
    timeline: Path | None = None,
    probe_timeout_s: float = 3.0,
    keep_trying: bool = False,
) -> SourceChoice:
    """Take the first source that really delivers a reading.

    Args:
        names: in order of preference; `auto` (alone or within) stands for jtop, nvml, sysfs. Empty: no source
            is wanted.
        clock: steady clock, ns, handed to the source.
        sysfs_root: where sysfs is mounted.
        gpu_index: NVML's index of the GPU.
        timeline: file for `scripted`.
        probe_timeout_s: a source that has not answered its first reading by then is passed over.
        keep_trying: where none delivers, return the last one that answered at all: its service may start later, and
            whoever polls it notices.

    Returns:
        The source (the caller closes it, or hands it to a `ThermalStatePublisher`) and the reason.

    Raises:
        SettingsError: an unknown name, or a missing or malformed timeline.
    """
    wanted = _expanded(names)
    if not wanted:
        return SourceChoice(None, "no thermal source is configured")
    surroundings = _Surroundings(clock, sysfs_root, gpu_index, timeline)
    refusals: list[str] = []
    last: ThermalSource | None = None
    for name in wanted:
        source = _FACTORIES[name](surroundings)
        refusal = _refusal(source, probe_timeout_s)
        if not refusal.text:
            others = f"; passed over: {'; '.join(refusals)}" if refusals else ""
            return SourceChoice(source, f"{name}: first of {', '.join(wanted)} to deliver a reading{others}")
        refusals.append(f"{name}: {refusal.text}")
        if not refusal.is_hanging:
            last = source
    again = f"; {last.name} is asked again" if keep_trying and last is not None else ""
    reason = f"no thermal source delivers a reading: {'; '.join(refusals)}{again}"
    return SourceChoice(last if keep_trying else None, reason)


def _expanded(names: Sequence[str] | Literal["auto"]) -> tuple[str, ...]:
    """Names without repetition and without the empty ones (ROS parameters cannot hold an empty list)."""
    given = (names,) if isinstance(names, str) else tuple(names)
    expanded: list[str] = []
    for name in given:
        expanded.extend(AUTOMATIC_ORDER if name == "auto" else (name,))
    unknown = [name for name in expanded if name and name not in _FACTORIES]
    if unknown:
        raise SettingsError("thermal_sources", unknown[0], f"auto, {', '.join(_FACTORIES)}")
    return tuple(dict.fromkeys(name for name in expanded if name))


class _Refusal(NamedTuple):
    """Why a source is not taken; no text when it is. One that hangs must not be touched again."""

    text: str = ""
    is_hanging: bool = False


def _refusal(source: ThermalSource, timeout_s: float) -> _Refusal:
    """Read once, in a thread of its own in case the source hangs."""
    # Asked for by name, and its timeline begins with the first reading: that is the poller's, when all is loaded.
    if isinstance(source, ScriptedSource):
        return _Refusal()
    outcome: list[ThermalState | Exception] = []

    def probe() -> None:
        try:
            outcome.append(plausible_state(source.read()))
        except Exception as error:  # whatever a third-party library throws, the next source gets its chance
            outcome.append(error)

    thread = threading.Thread(target=probe, name=f"probe-{source.name}", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if not outcome:
        # Not closed: another thread is still inside.
        return _Refusal(f"no answer within {timeout_s:g} s", is_hanging=True)
    result = outcome[0]
    if isinstance(result, ThermalState) and result.is_telemetry_available:
        return _Refusal()
    source.close()
    text = result.cause if isinstance(result, ThermalState) else str(result)
    return _Refusal(text or type(result).__name__)
