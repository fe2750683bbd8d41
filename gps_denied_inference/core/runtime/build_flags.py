"""Which runtimes this build contains."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from gps_denied_inference.core.contracts import RuntimeLabel
from gps_denied_inference.core.errors import SettingsError

__all__ = ["BUILD_FLAG_NAMES", "BuildFlags"]

BUILD_FLAG_NAMES: Mapping[RuntimeLabel, str] = MappingProxyType(
    {
        RuntimeLabel.PYTORCH_FP16: "BUILD_PYTORCH_FP16_RUNTIME",
        RuntimeLabel.TENSORRT: "BUILD_TENSORRT_RUNTIME",
        RuntimeLabel.ONNX_TRT_EP: "BUILD_ONNX_TRT_EP_RUNTIME",
    }
)
"""CMake option and environment variable of each runtime; the fake has none, it is always built."""

_INSTALLED_FLAGS = Path(__file__).resolve().parent.parent / "build_flags.json"
_TRUE = ("ON", "1", "TRUE")
_FALSE = ("OFF", "0", "FALSE")


@dataclass(frozen=True, slots=True)
class BuildFlags:
    """Runtimes that were built in. One whose flag is off is never imported.

    Attributes:
        built: labels of the runtimes that are there.
    """

    built: frozenset[RuntimeLabel] = frozenset(RuntimeLabel)

    def allows(self, label: RuntimeLabel) -> bool:
        """Tell whether the runtime was built in; a label without a flag always is."""
        return label in self.built or label not in BUILD_FLAG_NAMES

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None, installed_flags: Path = _INSTALLED_FLAGS) -> BuildFlags:
        """Read each flag from the environment, else from what the build wrote, else take it as on.

        Args:
            environment: variables named as in `BUILD_FLAG_NAMES` with ON, OFF, 1, 0, true or false; `os.environ`,
                when None.
            installed_flags: JSON object with the same names, written by CMake; may be absent.

        Raises:
            SettingsError: a flag has another value, or the file is no such JSON object.
        """
        variables = os.environ if environment is None else environment
        installed = _read_installed(installed_flags)
        built = set()
        for label, name in BUILD_FLAG_NAMES.items():
            value = variables.get(name, installed.get(name, "ON"))
            if _is_on(name, value):
                built.add(label)
        return cls(frozenset(built | {RuntimeLabel.FAKE}))


def _read_installed(path: Path) -> Mapping[str, object]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(str(path), f"unreadable ({error})", "a readable JSON object; build again") from error
    try:
        flags = json.loads(text)
    except ValueError as error:
        raise SettingsError(str(path), text[:80], "a JSON object of build flags; build again") from error
    if not isinstance(flags, dict):
        raise SettingsError(str(path), text[:80], "a JSON object of build flags; build again")
    return flags


def _is_on(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().upper()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise SettingsError(name, value, "ON, OFF, 1, 0, true or false")
