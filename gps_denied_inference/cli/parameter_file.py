"""Settings out of a ROS parameter file, read without ROS."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gps_denied_inference.core.errors import SettingsError
from gps_denied_inference.core.settings import ENGINE_FIELDS, GENERAL_FIELDS

__all__ = ["settings_in_parameter_file"]


def settings_in_parameter_file(path: Path) -> dict[str, object]:
    """Return the settings among a file's parameters, by flat name; what concerns only the node is left out.

    Of several nodes in one file, the later one wins.

    Raises:
        SettingsError: it is missing or no parameter file.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError("params", str(path), f"a readable ROS parameter file ({error})") from error
    flat: dict[str, object] = {}
    for node, content in (document if isinstance(document, Mapping) else {}).items():
        parameters = content.get("ros__parameters") if isinstance(content, Mapping) else None
        if not isinstance(parameters, Mapping):
            raise SettingsError("params", str(path), f"a file with ros__parameters under each node; '{node}' has none")
        flat |= _flattened(parameters, "")
    if not flat:
        raise SettingsError("params", str(path), "a ROS parameter file: a node's name, then ros__parameters")
    names = flat.get("engines", ["primary"])
    engines = names if isinstance(names, list) else ["primary"]
    known = {field.name for field in GENERAL_FIELDS}
    known |= {f"{engine}.{field.name}" for engine in engines for field in ENGINE_FIELDS}
    return {name: value for name, value in flat.items() if name in known}


def _flattened(parameters: Mapping[Any, Any], prefix: str) -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in parameters.items():
        if isinstance(value, Mapping):
            flat |= _flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
