"""Scripts of the fake runtime: the YAML file that stands for its engine.

Every field is optional. For example:

```yaml
model_name: efficientnet_lite0_grid   # the entry's extras go first
latency_ms: [20, 20, 35]              # a number, or a list that is gone through again and again
jitter_ms: 2                          # uniform on top, seeded
seed: 0
load_latency_ms: 100
load_fault: none                      # none, out_of_memory, deserialize_error
faults:
  - {frame: 3, kind: nan}                   # once, at this frame (counted from 0)
  - {every: 10, kind: hang, hang_ms: 500}   # at the frames 9, 19, 29, ...
```
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

import yaml

from gps_denied_inference.core.errors import EngineBuildError

__all__ = ["FakeScript", "Fault", "FaultKind", "LoadFault", "parse_script"]

Choice = TypeVar("Choice", bound=Enum)


class FaultKind(Enum):
    """What goes wrong at a frame."""

    INFERENCE_ERROR = "inference_error"
    NAN = "nan"
    OUT_OF_MEMORY = "out_of_memory"
    HANG = "hang"
    WRONG_SHAPE = "wrong_shape"


class LoadFault(Enum):
    """What goes wrong while loading."""

    NONE = "none"
    OUT_OF_MEMORY = "out_of_memory"
    DESERIALIZE_ERROR = "deserialize_error"


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault and when it strikes: exactly one of `frame` and `every` is given.

    Attributes:
        kind: what goes wrong.
        frame: index of the frame, from 0; None for a repeating fault.
        every: period, frames: strikes the last frame of each; None for a single fault.
        hang_ms: for `hang`: how much longer the frame takes.
    """

    kind: FaultKind
    frame: int | None = None
    every: int | None = None
    hang_ms: float = 0.0

    def strikes(self, frame: int) -> bool:
        """Tell whether the frame of this index is hit."""
        if self.every is not None:
            return (frame + 1) % self.every == 0
        return frame == self.frame


@dataclass(frozen=True, slots=True)
class FakeScript:
    """What the fake runtime plays.

    Attributes:
        model_name: network whose shapes it imitates; empty leaves it to the entry.
        latency_ms: of the frames, gone through again and again.
        jitter_ms: uniformly distributed on top, 0..jitter_ms.
        seed: of the jitter.
        load_latency_ms: of loading.
        load_fault: what goes wrong while loading.
        faults: what goes wrong at frames; the first that strikes counts.
    """

    model_name: str = ""
    latency_ms: tuple[float, ...] = (0.0,)
    jitter_ms: float = 0.0
    seed: int = 0
    load_latency_ms: float = 0.0
    load_fault: LoadFault = LoadFault.NONE
    faults: tuple[Fault, ...] = ()

    def fault_at(self, frame: int) -> Fault | None:
        """Return the fault that strikes a frame."""
        return next((fault for fault in self.faults if fault.strikes(frame)), None)


def parse_script(content: bytes, name: str) -> FakeScript:
    """Read a script.

    Args:
        content: YAML text, UTF-8. An empty one is a script without latency or faults.
        name: of the file, for messages.

    Raises:
        EngineBuildError: names the field, its value and what is allowed.
    """
    try:
        document = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise EngineBuildError(f"{name} is not YAML ({error}); see the fake runtime's script format") from error
    fields = _mapping(name, "script", {} if document is None else document, FakeScript)
    latencies = fields.get("latency_ms", 0.0)
    if latencies == []:
        raise _refused(name, "latency_ms", latencies, "a number or a list of at least one number, ms, >= 0")
    faults = fields.get("faults", [])
    if not isinstance(faults, list):
        raise _refused(name, "faults", faults, "a list of faults")
    model_name = fields.get("model_name", "")
    if not isinstance(model_name, str):
        raise _refused(name, "model_name", model_name, "the name of a registered architecture")
    return FakeScript(
        model_name=model_name,
        latency_ms=(
            tuple(_duration(name, f"latency_ms[{i}]", value) for i, value in enumerate(latencies))
            if isinstance(latencies, list)
            else (_duration(name, "latency_ms", latencies),)
        ),
        jitter_ms=_duration(name, "jitter_ms", fields.get("jitter_ms", 0.0)),
        seed=_integer(name, "seed", fields.get("seed", 0), minimum=0),
        load_latency_ms=_duration(name, "load_latency_ms", fields.get("load_latency_ms", 0.0)),
        load_fault=_member(name, "load_fault", fields.get("load_fault", "none"), LoadFault),
        faults=tuple(_fault(name, f"faults[{i}]", value) for i, value in enumerate(faults)),
    )


def _fault(name: str, field: str, value: Any) -> Fault:
    fields = _mapping(name, field, value, Fault)
    if ("frame" in fields) == ("every" in fields):
        raise _refused(name, field, value, "exactly one of 'frame' and 'every'")
    kind = _member(name, f"{field}.kind", fields.get("kind"), FaultKind)
    if (kind is FaultKind.HANG) != ("hang_ms" in fields):
        raise _refused(name, f"{field}.hang_ms", fields.get("hang_ms"), "a duration, for kind 'hang' and no other")
    return Fault(
        kind=kind,
        frame=_integer(name, f"{field}.frame", fields["frame"], minimum=0) if "frame" in fields else None,
        every=_integer(name, f"{field}.every", fields["every"], minimum=1) if "every" in fields else None,
        hang_ms=_duration(name, f"{field}.hang_ms", fields.get("hang_ms", 0.0)),
    )


def _mapping(name: str, field: str, value: Any, shape: type[Any]) -> Mapping[str, Any]:
    allowed = list(shape.__dataclass_fields__)
    if not isinstance(value, dict):
        raise _refused(name, field, value, f"a mapping with the keys {allowed}")
    unknown = [key for key in value if key not in allowed]
    if unknown:
        raise _refused(name, str(unknown[0]), value[unknown[0]], f"no such field; the {field} has {allowed}")
    return value


def _duration(name: str, field: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise _refused(name, field, value, "a number of milliseconds, >= 0")
    return float(value)


def _integer(name: str, field: str, value: Any, *, minimum: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise _refused(name, field, value, f"a whole number >= {minimum}")
    return value


def _member(name: str, field: str, value: Any, choices: type[Choice]) -> Choice:
    try:
        return choices(value)
    except ValueError:
        raise _refused(name, field, value, f"one of {[choice.value for choice in choices]}") from None


def _refused(name: str, field: str, value: object, allowed: str) -> EngineBuildError:
    return EngineBuildError(f"{name}: field '{field}' is {value!r}; allowed: {allowed}")
