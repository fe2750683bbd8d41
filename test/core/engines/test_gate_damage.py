"""Damaged engines are refused, each by the error of its damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gps_denied_inference.core.contracts import PrecisionMode, RuntimeLabel
from gps_denied_inference.core.engines.file_name import EngineFileName
from gps_denied_inference.core.engines.gate import EngineGate
from gps_denied_inference.core.engines.host import HostTuple
from gps_denied_inference.core.engines.manifest import ManifestEntry
from gps_denied_inference.core.engines.store import EngineStore
from gps_denied_inference.core.errors import (
    EngineError,
    EngineHashMismatchError,
    EngineManifestError,
    EngineSidecarMissingError,
)

_MODEL, _RUNTIME, _PRECISION = "small_model", RuntimeLabel.ONNX_TRT_EP, PrecisionMode.FP32


def _stored(root: Path) -> tuple[EngineStore, Path]:
    store = EngineStore(root)
    name = EngineFileName(_MODEL, _RUNTIME, (), "any", "onnx", _PRECISION, "0" * 12, ".onnx")
    details = ManifestEntry("", "", 0, _MODEL, _RUNTIME, _PRECISION, "a" * 64, "b" * 64)
    return store, store.path_of(store.add(bytes(range(256)) * 8, name=name, details=details))


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


_DAMAGES: dict[str, tuple[Callable[[Path], object], type[EngineError]]] = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:100]), EngineHashMismatchError),
    "bit flip": (lambda path: path.write_bytes(b"\x01" + path.read_bytes()[1:]), EngineHashMismatchError),
    "sidecar absent": (lambda path: _sidecar(path).unlink(), EngineSidecarMissingError),
    "sidecar empty": (lambda path: _sidecar(path).write_text(""), EngineHashMismatchError),
    "sidecar garbage": (lambda path: _sidecar(path).write_text("garbage\n"), EngineHashMismatchError),
    "manifest missing": (lambda path: (path.parent / "manifest.json").unlink(), EngineManifestError),
    "manifest truncated": (lambda path: (path.parent / "manifest.json").write_text("{"), EngineManifestError),
}


def test_gate_accepts_an_untouched_engine_in_order(tmp_path: Path) -> None:
    store, path = _stored(tmp_path / "store")
    verdict = EngineGate(store, HostTuple()).validate(path)
    assert verdict.is_accepted
    assert [step.name for step in verdict.steps] == ["schema", "host", "sidecar", "hash", "manifest"]


@pytest.mark.parametrize("damage", _DAMAGES)
def test_gate_refuses_a_damaged_engine(tmp_path: Path, damage: str) -> None:
    store, path = _stored(tmp_path / "store")
    inflict, expected = _DAMAGES[damage]
    inflict(path)
    assert type(EngineGate(store, HostTuple()).validate(path).error) is expected
