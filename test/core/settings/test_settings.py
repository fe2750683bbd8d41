from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gps_denied_inference.core.contracts import PrecisionMode, ResizeMode, RuntimeLabel
from gps_denied_inference.core.errors import SettingsError
from gps_denied_inference.core.settings import (
    ENGINE_FIELDS,
    GENERAL_FIELDS,
    EngineSettings,
    SettingField,
    Settings,
    settings_from_mapping,
)


def test_nothing_given_takes_every_default() -> None:
    assert settings_from_mapping({}) == Settings()


def test_values_reach_the_field_they_name() -> None:
    settings = settings_from_mapping(
        {
            "engines": ["front"],
            "front.runtime": "fake",
            "front.model": "xfeat",
            "front.checkpoint": "/data/script.yaml",
            "front.precision": "fp32",
            "front.device": "cpu",
            "front.resize_mode": "crop",
            "front.top_k": 7,
            "weights_dir": "/data/weights",
            "allow_cpu_fallback": True,
            "allow_ungated": True,
            "enabled_runtimes": ["fake"],
            "architecture_modules": ["my_networks"],
            "accepted_licenses": ["LicenseRef-Mine"],
            "thermal_sources": ["sysfs"],
            "thermal_poll_hz": 5,
            "per_frame_debug_log": True,
            "max_frame_age_ms": 100,
        }
    )
    assert settings == Settings(
        engines=(
            EngineSettings(
                name="front",
                runtime=RuntimeLabel.FAKE,
                model="xfeat",
                checkpoint=Path("/data/script.yaml"),
                precision=PrecisionMode.FP32,
                device="cpu",
                resize_mode=ResizeMode.CROP,
                top_k=7,
            ),
        ),
        weights_dir=Path("/data/weights"),
        allow_cpu_fallback=True,
        allow_ungated=True,
        enabled_runtimes=frozenset({RuntimeLabel.FAKE}),
        architecture_modules=("my_networks",),
        accepted_licenses=("LicenseRef-Mine",),
        thermal_sources=("sysfs",),
        thermal_poll_hz=5.0,
        per_frame_debug_log=True,
        max_frame_age_ms=100.0,
    )
    assert settings.engine("front") is settings.engine()


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("thermal_poll_hz", 0.1, "0.2 to 10"),
        ("thermal_poll_hz", float("nan"), "0.2 to 10"),
        ("thermal_poll_hz", "fast", "0.2 to 10"),
        ("max_frame_age_ms", 0, "1 to 60000"),
        ("allow_ungated", "yes", "true or false"),
        ("allow_ungated", 1, "true or false"),
        ("enabled_runtimes", ["caffe"], "pytorch_fp16"),
        ("enabled_runtimes", "fake", "a list"),
        ("primary.runtime", "caffe", "tensorrt"),
        ("primary.precision", "fp8", "fp16"),
        ("primary.top_k", -1, "0 to 65536"),
        ("primary.top_k", 1.5, "0 to 65536"),
        ("primary.top_k", True, "0 to 65536"),
        ("primary.device", "gpu", "cuda:N"),
        ("primary.resize_mode", "squash", "letterbox"),
        ("primary.checkpoint", 3, "a string"),
        ("engines", [], "at least one name"),
        ("engines", ["primary", "primary"], "each once"),
        ("engines", ["Bad Name"], "lower-case"),
        ("no_such_setting", 1, "a known name"),
        ("secondary.model", "xfeat", "a known name"),
    ],
)
def test_wrong_value_names_field_value_and_allowed_range(name: str, value: object, allowed: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_from_mapping({name: value})
    assert allowed in str(caught.value)
    assert caught.value.field.split(".")[0] in {name.split(".")[0], "engines"}


def test_unknown_engine_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="one of primary"):
        Settings().engine("secondary")


@pytest.mark.parametrize("item", [*GENERAL_FIELDS, *ENGINE_FIELDS], ids=lambda item: item.name)
def test_every_field_accepts_its_default_and_is_described(item: SettingField) -> None:
    assert item.validated(item.default) == item.default
    assert len(item.description) > 15
    assert item.allowed


@given(st.floats(min_value=0.2, max_value=10.0))
def test_every_number_in_range_is_accepted(poll_hz: float) -> None:
    assert settings_from_mapping({"thermal_poll_hz": poll_hz}).thermal_poll_hz == poll_hz


@given(st.one_of(st.floats(max_value=0.19), st.floats(min_value=10.01), st.just(float("inf"))))
def test_every_number_out_of_range_is_refused(poll_hz: float) -> None:
    with pytest.raises(SettingsError):
        settings_from_mapping({"thermal_poll_hz": poll_hz})


@pytest.mark.parametrize(
    ("item", "allowed"),
    [
        (SettingField("a", 0, "", minimum=0, maximum=2**40), "an integer from 0 to 1099511627776"),
        (SettingField("a", 0.5, "", minimum=0.001, maximum=1e6), "a finite number from 0.001 to 1000000"),
        (SettingField("a", 1.0, "", minimum=1000000.0), "a finite number of at least 1000000"),
    ],
)
def test_bounds_are_told_with_all_their_digits(item: SettingField, allowed: str) -> None:
    assert item.allowed == allowed
