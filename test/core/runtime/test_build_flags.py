from __future__ import annotations

import json
from pathlib import Path

import pytest

from gps_denied_inference.core.contracts import RuntimeLabel
from gps_denied_inference.core.errors import SettingsError
from gps_denied_inference.core.runtime.build_flags import BUILD_FLAG_NAMES, BuildFlags

LABELS = tuple(BUILD_FLAG_NAMES)


def test_everything_is_on_by_default(tmp_path: Path) -> None:
    flags = BuildFlags.load({}, tmp_path / "absent.json")
    assert all(flags.allows(label) for label in RuntimeLabel)


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize(
    ("word", "is_on"), [("ON", True), ("1", True), ("true", True), ("OFF", False), ("0", False), ("False", False)]
)
def test_environment_switches_one_runtime(label: RuntimeLabel, word: str, is_on: bool, tmp_path: Path) -> None:
    flags = BuildFlags.load({BUILD_FLAG_NAMES[label]: word}, tmp_path / "absent.json")
    assert flags.allows(label) is is_on
    assert all(flags.allows(other) for other in RuntimeLabel if other is not label)


@pytest.mark.parametrize("value", [False, "OFF", 0])
def test_build_switches_and_environment_overrides(value: object, tmp_path: Path) -> None:
    path = tmp_path / "build_flags.json"
    path.write_text(json.dumps({"BUILD_TENSORRT_RUNTIME": value}))
    assert not BuildFlags.load({}, path).allows(RuntimeLabel.TENSORRT)
    assert BuildFlags.load({"BUILD_TENSORRT_RUNTIME": "ON"}, path).allows(RuntimeLabel.TENSORRT)


@pytest.mark.parametrize("word", ["", "yes", "2", "on off"])
def test_other_words_are_refused_by_name(word: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="BUILD_TENSORRT_RUNTIME"):
        BuildFlags.load({"BUILD_TENSORRT_RUNTIME": word}, tmp_path / "absent.json")


@pytest.mark.parametrize("text", ["{", "[]", '"ON"'])
def test_malformed_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "build_flags.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match="build again"):
        BuildFlags.load({}, path)
