"""The shipped groups of diagnostic_aggregator, and which of them take a status.

What is modelled here is in the sources of diagnostic_aggregator 4 (Jazzy): `GenericAnalyzer` takes a status whose name
one of its `regex` matches as a whole (ECMAScript).
"""

import re
from pathlib import Path
from typing import Any

import yaml
from ament_index_python.packages import get_package_share_directory

__all__ = ["aggregator_groups", "takers"]


def aggregator_groups() -> dict[str, dict[str, Any]]:
    """Return the groups of the shipped parameter file by name."""
    path = Path(get_package_share_directory("gps_denied_inference")) / "config" / "diagnostic_aggregator.yaml"
    parameters = yaml.safe_load(path.read_text())["analyzers"]["ros__parameters"]
    assert isinstance(parameters["pub_rate"], float) and isinstance(parameters["path"], str)
    return {name: value for name, value in parameters.items() if isinstance(value, dict)}


def takers(groups: dict[str, dict[str, Any]], name: str) -> list[str]:
    """Return the groups that take the status of this name."""
    return [key for key, group in groups.items() if any(re.fullmatch(regex, name) for regex in group["regex"])]
