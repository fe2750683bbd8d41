"""One setting: its name, default, unit and range, described once for YAML, ROS parameters and the command line."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gps_denied_inference.core.errors import SettingsError

__all__ = ["SettingField", "SettingValue"]

SettingValue = bool | int | float | str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SettingField:
    """Description of a setting. The type of `default` is the type of the setting.

    Attributes:
        name: without the engine's prefix.
        default: bool, int, float, str or a tuple of str.
        description: what it does, unit included.
        minimum, maximum: inclusive range of numbers; None means unbounded.
        choices: allowed strings; empty means any.
        is_dynamic: may be changed while the node is configured; others take effect at the next configure.
        is_read_only: fixed when the node starts.
    """

    name: str
    default: SettingValue
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    is_dynamic: bool = False
    is_read_only: bool = False

    @property
    def allowed(self) -> str:
        """The allowed values, in words."""
        if isinstance(self.default, bool):
            return "true or false"
        if isinstance(self.default, tuple):
            return "a list of strings" + (f", each one of {', '.join(map(repr, self.choices))}" if self.choices else "")
        if isinstance(self.default, str):
            return "one of " + ", ".join(repr(choice) for choice in self.choices) if self.choices else "a string"
        kind = "an integer" if isinstance(self.default, int) else "a finite number"
        if self.minimum is not None and self.maximum is not None:
            return f"{kind} from {_plain(self.minimum)} to {_plain(self.maximum)}"
        if self.minimum is not None:
            return f"{kind} of at least {_plain(self.minimum)}"
        return kind

    def validated(self, value: object, *, prefix: str = "") -> SettingValue:
        """Return `value` in the type of the setting (an integer becomes a float where one is expected).

        Args:
            value: what came from YAML, ROS or the command line.
            prefix: put before the name in the error, e.g. `primary.`.

        Raises:
            SettingsError: wrong type, out of range, or not one of the choices.
        """
        name = prefix + self.name
        if isinstance(self.default, bool):
            if isinstance(value, bool):
                return value
        elif isinstance(self.default, int):
            if isinstance(value, int) and not isinstance(value, bool) and self._is_in_range(value):
                return value
        elif isinstance(self.default, float):
            if isinstance(value, int | float) and not isinstance(value, bool):
                number = float(value)
                if math.isfinite(number) and self._is_in_range(number):
                    return number
        elif isinstance(self.default, str):
            if isinstance(value, str) and (not self.choices or value in self.choices):
                return value
        elif isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            items = tuple(str(item) for item in value)
            if not self.choices or set(items) <= set(self.choices):
                return items
        raise SettingsError(name, value, self.allowed)

    def _is_in_range(self, number: float) -> bool:
        return (self.minimum is None or number >= self.minimum) and (self.maximum is None or number <= self.maximum)


def _plain(number: float) -> str:
    """A bound with all its digits: `1e+06`, and 2**40 rounded, are not what a parameter file takes."""
    return str(int(number)) if float(number).is_integer() else f"{number:g}"
