from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from gps_denied_inference.core.architectures import default_registry, require_accepted_license
from gps_denied_inference.core.architectures.entries import XFEAT
from gps_denied_inference.core.assembly import assemble_pipeline
from gps_denied_inference.core.contracts import RuntimeLabel
from gps_denied_inference.core.engines import EngineStore, probe_host
from gps_denied_inference.core.engines.build import BuildRequest, build_engine
from gps_denied_inference.core.errors import EngineBuildError, LicenseNotAcceptedError, SettingsError
from gps_denied_inference.core.settings import settings_from_mapping

FREE = {"Apache-2.0", "BSD-3-Clause", "MIT"}
RESTRICTED = replace(XFEAT, license="LicenseRef-Mine", license_restriction="for me alone")


def test_free_license_needs_no_acceptance() -> None:
    require_accepted_license("net", XFEAT, ())


def test_restricted_license_is_refused_with_its_terms_and_the_way_to_accept_it() -> None:
    with pytest.raises(LicenseNotAcceptedError, match=r"for me alone.*--accept-license LicenseRef-Mine"):
        require_accepted_license("net", RESTRICTED, ("LicenseRef-Other",))
    require_accepted_license("net", RESTRICTED, ("LicenseRef-Mine",))


def test_pipeline_refuses_research_weights_until_the_settings_accept_them() -> None:
    values = {"allow_ungated": True, "allow_cpu_fallback": True, "primary.model": "superpoint"}
    with pytest.raises(LicenseNotAcceptedError, match="LicenseRef-MagicLeap-SuperPoint"):
        assemble_pipeline(settings_from_mapping(values))
    accepted = {**values, "accepted_licenses": ["LicenseRef-MagicLeap-SuperPoint"]}
    with pytest.raises(EngineBuildError, match=r"superpoint_v1\.pth"):
        assemble_pipeline(settings_from_mapping(accepted))


def test_fake_runtime_uses_no_weights_and_asks_for_no_license(tmp_path: Path) -> None:
    (tmp_path / "script.yaml").write_text("latency_ms: 1.0\n")
    values = {
        "allow_ungated": True,
        "primary.model": "superpoint",
        "primary.runtime": "fake",
        "primary.checkpoint": str(tmp_path / "script.yaml"),
    }
    with assemble_pipeline(settings_from_mapping(values)) as pipeline:
        assert pipeline.model.name == "superpoint"


def test_engine_of_research_weights_is_not_built_unaccepted(tmp_path: Path) -> None:
    request = BuildRequest("superpoint", RuntimeLabel.PYTORCH_FP16)
    with pytest.raises(LicenseNotAcceptedError):
        build_engine(request, EngineStore(tmp_path), registry=default_registry(), host=probe_host())


def test_pipeline_refuses_a_network_of_two_images() -> None:
    settings = settings_from_mapping({"allow_ungated": True, "primary.model": "lightglue_aliked"})
    with pytest.raises(SettingsError, match=r"primary\.model.*matches of two"):
        assemble_pipeline(settings)


@pytest.mark.parametrize("name", list(default_registry()))
def test_every_entry_names_its_license_origin_and_paper(name: str) -> None:
    spec = default_registry().lookup(name).spec
    assert spec.license and spec.paper
    assert bool(spec.license_restriction) is (spec.license not in FREE)
    assert spec.weights is not None and spec.weights.url.startswith("https://")
    # A package's file was hashed; of a page's file it is known where public code pins it.
    is_known, is_packaged = bool(spec.weights.sha256), bool(spec.weights.distribution)
    assert not is_known or re.fullmatch("[0-9a-f]{64}", spec.weights.sha256)
    assert is_known or not is_packaged
    assert bool(spec.weights.pinned_by) is (is_known and not is_packaged)
    assert spec.is_verified_by_layout_only is not bool(spec.weights.distribution)


@pytest.mark.parametrize(
    ("name", "license_name"),
    [
        # As the authors' repositories said in November 2026.
        ("dinov2_vitb14_boq", "MIT"),
        ("dinov2_vitb14_salad", "GPL-3.0-only"),
        ("dinov3_vits16", "LicenseRef-DINOv3"),
        ("efficient_loftr", "Apache-2.0"),
        ("eigenplaces_resnet50", "MIT"),
        ("mixvpr_resnet50", "LicenseRef-unstated"),
        ("netvlad_vgg16", "LicenseRef-unstated"),
        ("superpoint", "LicenseRef-MagicLeap-SuperPoint"),
    ],
)
def test_license_is_the_one_that_the_authors_state(name: str, license_name: str) -> None:
    spec = default_registry().lookup(name).spec
    assert spec.license == license_name
    if license_name not in FREE:
        settings = settings_from_mapping({"allow_ungated": True, "allow_cpu_fallback": True, "primary.model": name})
        with pytest.raises(LicenseNotAcceptedError, match=license_name):
            assemble_pipeline(settings)
