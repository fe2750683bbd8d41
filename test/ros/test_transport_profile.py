"""The profile for large images is found, is what Fast DDS reads, and never replaces the user's own."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from gps_denied_inference.ros.transport_profile import PROFILE_VARIABLES, has_profile, large_image_profile

_NAMESPACE = "{http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles}"


def test_profile_of_the_source_tree_has_room_for_two_frames_of_4k(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMENT_PREFIX_PATH", "")
    path = large_image_profile()
    assert path is not None
    sizes = [int(str(item.text)) for item in ElementTree.parse(path).iter(f"{_NAMESPACE}segment_size")]
    assert sizes and min(sizes) > 2 * 3840 * 2160 * 3


def test_installed_profile_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed = tmp_path / "share" / "gps_denied_inference" / "config" / "fast_dds_large_images.xml"
    installed.parent.mkdir(parents=True)
    installed.write_text("<profiles/>")
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"/nowhere:{tmp_path}")
    assert large_image_profile() == installed


@pytest.mark.parametrize("name", PROFILE_VARIABLES)
def test_profile_of_the_user_is_seen(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for variable in PROFILE_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    assert not has_profile()
    monkeypatch.setenv(name, "/my/profile.xml")
    assert has_profile()
