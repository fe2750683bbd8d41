"""Parameter files, taken apart as ROS does it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gps_denied_inference.cli.parameter_file import ParameterFile, read_parameter_file
from gps_denied_inference.core.errors import SettingsError
from gps_denied_inference.core.settings import settings_from_mapping

_CONFIG = Path(__file__).resolve().parents[2] / "config"


def read(folder: Path, text: str, node: str = "") -> ParameterFile:
    path = folder / "params.yaml"
    path.write_text(text)
    return read_parameter_file(path, node)


TWO_NODES = """
/**:
  ros__parameters: {engine_store: shared, primary: {device: cpu}}
inference_node:
  ros__parameters: {primary: {model: xfeat, degradation_ladder: ~/ladder.yaml}, camera_id: nadir}
matcher_node:
  ros__parameters:
    engine_store: own
    primary.model: lighterglue_xfeat
thermal_monitor_node:
  ros__parameters: {thermal_sources: [sysfs]}
camera:
  ros__parameters: {fps: 30}
"""


def test_each_node_has_its_own_section_and_what_the_wildcard_says(tmp_path: Path) -> None:
    found = read(tmp_path, TWO_NODES)
    inference, matcher = found.nodes
    assert (inference.node, matcher.node) == ("inference_node", "matcher_node")
    assert inference.settings == {"engine_store": "shared", "primary.device": "cpu", "primary.model": "xfeat"}
    assert matcher.settings == {
        "engine_store": "own",
        "primary.device": "cpu",
        "primary.model": "lighterglue_xfeat",
    }
    assert inference.ladders == {"primary": Path.home() / "ladder.yaml"} and not matcher.ladders
    assert found.left_out == ("thermal_monitor_node", "camera")


def test_later_section_wins_as_in_ros(tmp_path: Path) -> None:
    node = "a:\n  ros__parameters: {engine_store: own, degradation_allow_other_space: true}\n"
    wildcard = "/**:\n  ros__parameters: {engine_store: any}\n"
    for text, store in ((node + wildcard, "any"), (wildcard + node, "own")):
        (section,) = read(tmp_path, text).nodes
        assert (section.settings["engine_store"], section.allows_other_space) == (store, True)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("/uav/a: {ros__parameters: {engines: [x]}}", ["uav/a"]),
        ("uav: {a: {ros__parameters: {engines: [x]}}, b: {ros__parameters: {x: 1}}}", ["uav/a"]),
        ("/**/a: {ros__parameters: {engines: [x]}}\n/**/b: {ros__parameters: {engines: [y]}}", ["/**/a", "/**/b"]),
        ("/**/a: {ros__parameters: {engines: [x]}}\n/uav/a: {ros__parameters: {x.model: m}}", ["uav/a"]),
        ("/*/a: {ros__parameters: {engines: [x]}}\n/a: {ros__parameters: {engine_store: s}}", ["/*/a", "a"]),
        ("/**: {ros__parameters: {engines: [x]}}\n/a: {ros__parameters: {camera_id: c}}", ["/**"]),
        ("/a: {ros__parameters: {camera_id: c}}", ["/**"]),
    ],
)
def test_nodes_are_found_by_name_namespace_and_wildcard(text: str, names: list[str], tmp_path: Path) -> None:
    assert [section.node for section in read(tmp_path, text).nodes] == names


def test_one_node_is_taken_where_it_is_named(tmp_path: Path) -> None:
    (section,) = read(tmp_path, TWO_NODES, "/matcher_node").nodes
    assert (section.node, section.settings["engine_store"]) == ("matcher_node", "own")
    with pytest.raises(SettingsError, match="inference_node, matcher_node"):
        read(tmp_path, TWO_NODES, "matcher")
    (section,) = read(tmp_path, "/**: {ros__parameters: {engine_store: any}}", "any_name").nodes
    assert section.settings == {"engine_store": "any"}


def test_settings_of_the_shipped_parameter_file_are_the_defaults() -> None:
    (section,) = read_parameter_file(_CONFIG / "inference.yaml").nodes
    assert settings_from_mapping(section.settings) == settings_from_mapping({})
    assert not section.ladders and not section.allows_other_space


@pytest.mark.parametrize("text", ["", "[1, 2]", "/**: {other: 1}", "a: [", "/**:\n  ros__parameters: 3"])
def test_what_is_no_parameter_file_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"ros__parameters|parameter file"):
        read(tmp_path, text)
