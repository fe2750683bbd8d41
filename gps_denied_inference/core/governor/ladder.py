"""The degradation ladder: what a node gives up, in which order. Read from YAML.

```yaml
rungs:
  - name: full                                  # the first is the normal work and changes nothing
  - {name: fewer keypoints, top_k: 512}
  - {name: half the rate, top_k: 512, max_rate_hz: 5}
  - {name: smaller images, top_k: 512, max_rate_hz: 5, input_height: 288, input_width: 384}
  - {name: on the processor, top_k: 512, max_rate_hz: 2, runtime: onnx_trt_ep, device: cpu}
```

A rung says everything that differs from the node's own parameters: nothing is carried over from the rung above it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import yaml

from gps_denied_inference.core.architectures import sized_name
from gps_denied_inference.core.contracts import PrecisionMode, RuntimeLabel
from gps_denied_inference.core.errors import SettingsError
from gps_denied_inference.core.settings import EngineSettings

__all__ = ["NORMAL", "Ladder", "Rung", "read_ladder"]

Choice = TypeVar("Choice", bound=Enum)

_MOST_RUNGS = 16
_MOST_KEYPOINTS = 65536
_SIDES_PX = (32, 4096)
_HIGHEST_RATE_HZ = 1000.0
_DEVICE = re.compile(r"cpu|cuda:\d+")


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of the ladder; None leaves what the node's parameters say.

    Attributes:
        name: for people; unique in the ladder.
        top_k: most keypoints to publish.
        max_rate_hz: most frames to work on in a second; those between are counted as rate-limited.
        input_height, input_width: another size of the network's input, pixels; both or neither. Its descriptors live
            in another space.
        model: another network.
        runtime, precision, device: another way to run it.
        engine_file: another engine of the store.
        checkpoint: another checkpoint, where the node runs without a store.
    """

    name: str
    top_k: int | None = None
    max_rate_hz: float | None = None
    input_height: int | None = None
    input_width: int | None = None
    model: str | None = None
    runtime: RuntimeLabel | None = None
    precision: PrecisionMode | None = None
    device: str | None = None
    engine_file: str | None = None
    checkpoint: Path | None = None

    @property
    def is_of_the_same_engine(self) -> bool:
        """Nothing about the engine differs: only how much of its work is asked for."""
        return not self._engine_changes() and self.input_height is None

    def applied_to(self, engine: EngineSettings) -> EngineSettings:
        """Return the settings of the engine that this rung runs; `top_k` and the rate are left out.

        Another network or runtime takes the newest engine of the store, unless the rung names the file.
        """
        changes = self._engine_changes()
        if {"model", "runtime", "precision"} & set(changes):
            changes.setdefault("engine_file", "")
        if self.model is not None:
            changes.setdefault("checkpoint", None)
        if self.input_height is not None and self.input_width is not None:
            changes["model"] = sized_name(changes.get("model", engine.model), self.input_height, self.input_width)
            changes.setdefault("engine_file", "")
        return replace(engine, **changes)

    def summary(self) -> str:
        """What the rung changes, in words."""
        found = []
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name != "name" and value is not None:
                text = f"{value:g}" if isinstance(value, float) else str(getattr(value, "value", value))
                found.append(f"{item.name} {text}")
        return ", ".join(found) or "as the parameters say"

    def _engine_changes(self) -> dict[str, Any]:
        names = ("model", "runtime", "precision", "device", "engine_file", "checkpoint")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


NORMAL = Rung("normal")
"""The only rung of a node without a ladder."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """Rungs from the normal work down.

    Attributes:
        rungs: at least two; the first changes nothing; names are unique.
    """

    rungs: tuple[Rung, ...]

    def __post_init__(self) -> None:
        names = [rung.name for rung in self.rungs]
        if not 2 <= len(names) <= _MOST_RUNGS:
            raise SettingsError("rungs", names, f"2 to {_MOST_RUNGS} rungs, from the normal work down")
        if len(set(names)) != len(names):
            raise SettingsError("rungs", names, "names that differ")
        if self.rungs[0] != Rung(names[0]):
            raise SettingsError("rungs[0]", self.rungs[0].summary(), "a name alone: the first rung is the normal work")
        for index, rung in enumerate(self.rungs[1:], start=1):
            if rung == Rung(rung.name):
                raise SettingsError(f"rungs[{index}]", rung.name, f"at least one of {', '.join(_KEYS[1:])}")


def read_ladder(path: Path) -> Ladder:
    """Read a ladder file.

    Raises:
        SettingsError: it is missing, no YAML, or has a wrong key or value; names the field, the value and what is
            allowed.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SettingsError(
            "degradation_ladder", str(path), f"a readable YAML file ({' '.join(str(error).split())})"
        ) from error
    if not isinstance(document, Mapping) or set(document) != {"rungs"}:
        raise SettingsError("degradation_ladder", str(path), "a mapping with the one key 'rungs'")
    entries = document["rungs"]
    if not isinstance(entries, list):
        raise SettingsError("rungs", entries, "a list of rungs, from the normal work down")
    return Ladder(tuple(_rung(f"rungs[{index}]", entry) for index, entry in enumerate(entries)))


_KEYS = tuple(item.name for item in fields(Rung))


def _rung(where: str, entry: object) -> Rung:
    if not isinstance(entry, Mapping) or not entry.get("name") or not set(entry) <= set(_KEYS):
        raise SettingsError(where, entry, f"a mapping with 'name' and any of {', '.join(_KEYS[1:])}")

    def text(key: str, allowed: str) -> str | None:
        value = entry.get(key)
        if value is not None and (not isinstance(value, str) or not value):
            raise SettingsError(f"{where}.{key}", value, allowed)
        return value

    device = text("device", "'cpu' or 'cuda:N'")
    if device is not None and not _DEVICE.fullmatch(device):
        raise SettingsError(f"{where}.device", device, "'cpu' or 'cuda:N'")
    engine_file = text("engine_file", "a file name without a folder")
    if engine_file is not None and Path(engine_file).name != engine_file:
        raise SettingsError(f"{where}.engine_file", engine_file, "a file name without a folder")
    checkpoint = text("checkpoint", "the path of a checkpoint")
    height, width = (
        _whole_number(f"{where}.{key}", entry.get(key), *_SIDES_PX) for key in ("input_height", "input_width")
    )
    if (height is None) != (width is None):
        raise SettingsError(f"{where}.input_height", (height, width), "both input_height and input_width, or neither")
    return Rung(
        name=text("name", "a text") or "",
        top_k=_whole_number(f"{where}.top_k", entry.get("top_k"), 1, _MOST_KEYPOINTS),
        max_rate_hz=_rate(f"{where}.max_rate_hz", entry.get("max_rate_hz")),
        input_height=height,
        input_width=width,
        model=text("model", "the name of a registered architecture"),
        runtime=_member(f"{where}.runtime", entry.get("runtime"), RuntimeLabel),
        precision=_member(f"{where}.precision", entry.get("precision"), PrecisionMode),
        device=device,
        engine_file=engine_file,
        checkpoint=None if checkpoint is None else Path(checkpoint).expanduser(),
    )


def _whole_number(field: str, value: object, least: int, most: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise SettingsError(field, value, f"a whole number from {least} to {most}")
    return value


def _rate(field: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingsError(field, value, f"a number above 0, up to {_HIGHEST_RATE_HZ:g}, Hz")
    if not (math.isfinite(value) and 0.01 <= value <= _HIGHEST_RATE_HZ):
        raise SettingsError(field, value, f"a number from 0.01 to {_HIGHEST_RATE_HZ:g}, Hz")
    return float(value)


def _member(field: str, value: object, choices: type[Choice]) -> Choice | None:
    if value is None:
        return None
    try:
        return choices(value)
    except ValueError:
        allowed = "one of " + ", ".join(repr(choice.value) for choice in choices)
        raise SettingsError(field, value, allowed) from None
