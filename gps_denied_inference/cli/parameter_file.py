"""Settings out of a ROS parameter file, read without ROS: each node's on its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gps_denied_inference.core.errors import SettingsError
from gps_denied_inference.core.settings import ENGINE_FIELDS, GENERAL_FIELDS

__all__ = ["NodeSection", "ParameterFile", "read_parameter_file"]

_ENGINE_NAMES = frozenset({item.name for item in ENGINE_FIELDS} | {"degradation_ladder"})


@dataclass(frozen=True, slots=True)
class NodeSection:
    """What a node with engines finds in a parameter file, wildcards included.

    Attributes:
        node: its name as the file has it; `/**` where the file names no node.
        settings: by flat name; what concerns only the node is left out.
        ladders: files of degradation ladders, by the name of the engine.
        allows_other_space: rungs may live in another space than the normal one.
    """

    node: str
    settings: Mapping[str, object]
    ladders: Mapping[str, Path] = field(default_factory=dict)
    allows_other_space: bool = False


@dataclass(frozen=True, slots=True)
class ParameterFile:
    """A parameter file, taken apart.

    Attributes:
        nodes: those whose own sections name an engine or a store, in the order of the file; where none does, one node
            with what the wildcards say.
        left_out: other nodes in the file.
    """

    nodes: tuple[NodeSection, ...]
    left_out: tuple[str, ...] = ()


def read_parameter_file(path: Path, node: str = "") -> ParameterFile:
    """Take the sections of a parameter file apart.

    A node's parameters are those of every section whose name fits it, a later one over an earlier one, as in ROS: `/**`
    stands for any node, `/**/NAME` for one of that name in any namespace, `/*/NAME` in any of one level.

    Args:
        path: of the file.
        node: the only one to look at; empty: all with engines.

    Raises:
        SettingsError: it is missing or no parameter file, or has other nodes than the one that was asked for.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError("params", str(path), f"a readable ROS parameter file ({error})") from error
    found = list(_sections(path, document, "")) if isinstance(document, Mapping) else []
    if not any(parameters for _, parameters in found):
        raise SettingsError("params", str(path), "a ROS parameter file: a node's name, then ros__parameters")
    names = _node_names([name for name, _ in found])
    if node:
        full_name = f"/{node.strip('/')}"
        if names and not any(_fits(name, full_name) for name in names):
            raise SettingsError("node", node, "a node of the file: " + ", ".join(map(_title, names)))
        return ParameterFile((_section(full_name, _merged(found, full_name)),))
    own = {name: _merged(found, name, with_wildcards=False) for name in names}
    whole = {name: _merged(found, name) for name in names}
    of_engines = [name for name in names if _names_an_engine(own[name], _engines(whole[name]))]
    if of_engines:
        nodes = tuple(_section(name, whole[name]) for name in of_engines)
    else:
        wildcards: dict[str, object] = {}
        for name, parameters in found:
            wildcards |= parameters if "*" in name.rpartition("/")[2] else {}
        nodes = (_section("/**", wildcards),)
    return ParameterFile(nodes, tuple(_title(name) for name in names if name not in of_engines))


def _node_names(sections: list[str]) -> list[str]:
    """Sections that name a node; `/**/NAME` does, unless another section tells that node's namespace."""
    named = list(dict.fromkeys(name for name in sections if "*" not in name.rpartition("/")[2]))
    exact = [name for name in named if "*" not in name]
    return [name for name in named if name in exact or not any(_fits(name, other) for other in exact)]


def _sections(path: Path, content: Mapping[Any, Any], namespace: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Full name and flat parameters of each section; namespaces may be nested."""
    for key, value in content.items():
        name = f"{namespace}/{str(key).strip('/')}"
        if not isinstance(value, Mapping):
            raise SettingsError("params", str(path), f"a file with ros__parameters under each node; '{key}' has none")
        if "ros__parameters" not in value:
            yield from _sections(path, value, name)
            continue
        parameters = value["ros__parameters"]
        if not isinstance(parameters, Mapping):
            raise SettingsError("params", str(path), f"a file with ros__parameters under each node; '{key}' has none")
        yield name, _flattened(parameters, "")


def _merged(found: list[tuple[str, dict[str, object]]], name: str, *, with_wildcards: bool = True) -> dict[str, object]:
    flat: dict[str, object] = {}
    for pattern, parameters in found:
        if pattern == name or (with_wildcards and _fits(pattern, name)):
            flat |= parameters
    return flat


def _fits(pattern: str, name: str) -> bool:
    expression = re.escape(pattern).replace(r"/\*\*", "(/[^/]+)*").replace(r"/\*", "/[^/]+")
    return re.fullmatch(expression, name) is not None


def _engines(flat: Mapping[str, object]) -> list[str]:
    names = flat.get("engines", ["primary"])
    return [str(name) for name in names] if isinstance(names, list) else ["primary"]


def _names_an_engine(flat: Mapping[str, object], engines: list[str]) -> bool:
    telling = {"engines", "engine_store"} | {f"{engine}.{name}" for engine in engines for name in _ENGINE_NAMES}
    return not telling.isdisjoint(flat)


def _section(name: str, flat: Mapping[str, object]) -> NodeSection:
    engines = _engines(flat)
    known = {item.name for item in GENERAL_FIELDS}
    known |= {f"{engine}.{item.name}" for engine in engines for item in ENGINE_FIELDS}
    ladders = {engine: flat.get(f"{engine}.degradation_ladder") for engine in engines}
    return NodeSection(
        _title(name),
        {key: value for key, value in flat.items() if key in known},
        {engine: Path(str(ladder)).expanduser() for engine, ladder in ladders.items() if ladder},
        bool(flat.get("degradation_allow_other_space", False)),
    )


def _title(name: str) -> str:
    return name if "*" in name else name.strip("/")


def _flattened(parameters: Mapping[Any, Any], prefix: str) -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in parameters.items():
        if isinstance(value, Mapping):
            flat |= _flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
