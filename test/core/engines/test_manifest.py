"""The manifest: canonical bytes, and nothing but a whole and sound one is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_engines import DETAILS, HOST_NAME, NAME

from gps_denied_inference.core.contracts import OptimizationProfile, PrecisionMode, RuntimeLabel
from gps_denied_inference.core.engines import Manifest, ManifestEntry
from gps_denied_inference.core.errors import EngineManifestError

_FILE = replace(NAME, digest="f" * 12).text()
_STEM = _FILE.removesuffix(".onnx")
_ENTRY = replace(DETAILS, file_name=_FILE, sha256="f" * 64, size_bytes=6, artefacts={f"{_STEM}.golden.npz": "e" * 64})
_OTHER = replace(_ENTRY, file_name=replace(HOST_NAME, digest="d" * 12).text(), sha256="d" * 64, artefacts={})


def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Manifest((_ENTRY,)).canonical_bytes())
    return found


def read(content: bytes) -> Manifest:
    return Manifest.from_bytes(content, "manifest.json")


def test_bytes_are_stable() -> None:
    expected = (
        '{\n "engines":[\n  {\n   "artefacts":{\n'
        f'    "{_STEM}.golden.npz":"{"e" * 64}"\n'
        '   },\n   "build_flags":{\n    "provider":"cpu"\n   },\n   "built_at":"2026-11-01T12:00:00Z",\n'
        f'   "file_name":"{_FILE}",\n   "license":"Apache-2.0",\n   "memory_bytes":1000,\n   "model":"small_model",\n'
        '   "package_version":"0.1.0",\n   "precision":"fp32",\n'
        f'   "preprocess_sha256":"{"b" * 64}",\n   "profiles":[\n    {{\n     "input_name":"image",\n'
        '     "max_shape":[\n      4,\n      3,\n      32,\n      32\n     ],\n'
        '     "min_shape":[\n      1,\n      3,\n      32,\n      32\n     ],\n'
        '     "opt_shape":[\n      2,\n      3,\n      32,\n      32\n     ]\n    }\n   ],\n'
        f'   "runtime":"onnx_trt_ep",\n   "sha256":"{"f" * 64}",\n   "size_bytes":6,\n'
        f'   "source_onnx_sha256":"{"c" * 64}",\n   "weights_sha256":"{"a" * 64}"\n'
        '  }\n ],\n "schema_version":1\n}\n'
    )
    assert Manifest((_ENTRY,)).canonical_bytes().decode("ascii") == expected


def test_order_of_mappings_does_not_change_the_bytes() -> None:
    flags = {"b": "1", "a": "2"}
    first, second = (replace(_ENTRY, build_flags=dict(pairs)) for pairs in (flags.items(), sorted(flags.items())))
    assert Manifest((first,)).canonical_bytes() == Manifest((second,)).canonical_bytes()


@given(
    st.text(),
    st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
    st.sampled_from(RuntimeLabel),
    st.sampled_from(PrecisionMode),
    st.lists(st.lists(st.integers(0, 2**40), max_size=5), max_size=3),
    st.integers(0, 2**60),
)
def test_manifest_is_read_back_as_it_was(
    text: str,
    flags: dict[str, str],
    runtime: RuntimeLabel,
    precision: PrecisionMode,
    shapes: list[list[int]],
    size: int,
) -> None:
    entry = replace(
        _ENTRY,
        model=text,
        license=text,
        built_at=text,
        build_flags=flags,
        runtime=runtime,
        precision=precision,
        profiles=tuple(OptimizationProfile(text, tuple(shape), tuple(shape), tuple(shape)) for shape in shapes),
        size_bytes=size,
        memory_bytes=size,
    )
    manifest = Manifest((entry, _OTHER))
    content = manifest.canonical_bytes()
    assert read(content) == manifest
    assert read(content).canonical_bytes() == content


def test_entries_are_found_by_their_file() -> None:
    manifest = Manifest((_ENTRY, _OTHER))
    assert manifest.entry(_OTHER.file_name) == _OTHER
    assert manifest.entry("none") is None


def test_unchanged_document_is_read() -> None:
    assert read(json.dumps(document()).encode()) == Manifest((_ENTRY,))


@pytest.mark.parametrize("field", ManifestEntry.__dataclass_fields__)
def test_missing_field_is_an_error_that_names_it(field: str) -> None:
    changed = document()
    del changed["engines"][0][field]
    with pytest.raises(EngineManifestError, match=field):
        read(json.dumps(changed).encode())


@pytest.mark.parametrize("field", ManifestEntry.__dataclass_fields__)
@pytest.mark.parametrize("value", [None, True, -1, 1.5, ["a"], {"a": 1}], ids=repr)
def test_field_of_another_type_is_an_error(field: str, value: object) -> None:
    changed = document()
    changed["engines"][0][field] = value
    with pytest.raises(EngineManifestError, match=r"manifest\.json"):
        read(json.dumps(changed).encode())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("file_name", "engine.onnx"),
        ("file_name", f"../{_FILE}"),
        ("file_name", f"/{_FILE}"),
        ("sha256", "f" * 63),
        ("sha256", "F" * 64),
        ("sha256", "f" * 64 + "\n"),
        ("weights_sha256", ""),
        ("preprocess_sha256", "x" * 64),
        ("source_onnx_sha256", "0"),
        ("runtime", "caffe"),
        ("precision", "fp8"),
        ("size_bytes", "6"),
        ("profiles", [{"input_name": "image"}]),
        ("profiles", [{"input_name": 1, "min_shape": [1], "opt_shape": [1], "max_shape": [1]}]),
        ("profiles", [{"input_name": "image", "min_shape": ["1"], "opt_shape": [1], "max_shape": [1]}]),
        ("profiles", {}),
        ("artefacts", {f"{_STEM}.golden.npz": "short"}),
    ],
)
def test_field_with_a_wrong_value_is_an_error(field: str, value: object) -> None:
    changed = document()
    changed["engines"][0][field] = value
    with pytest.raises(EngineManifestError, match=r"manifest\.json"):
        read(json.dumps(changed).encode())


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "/etc/passwd",
        f"../{_STEM}.golden.npz",
        f"{_STEM}/../../other",
        f"{_STEM}.golden.npz/",
        f"{_STEM}\0.npz",
        "manifest.json",
        "manifest.json.sig",
        ".lock",
        _OTHER.file_name,
        _FILE,
        f"{_FILE}.sha256",
    ],
)
def test_artefact_that_is_not_the_engines_own_is_an_error(name: str) -> None:
    changed = document()
    changed["engines"][0]["artefacts"] = {name: "e" * 64}
    with pytest.raises(EngineManifestError, match="artefact"):
        read(json.dumps(changed).encode())


def _without_engines(found: dict[str, Any]) -> None:
    del found["engines"]


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.update(extra=1),
        lambda found: found.update(engines={}),
        lambda found: found.update(engines=None),
        lambda found: found.update(engines=[1]),
        lambda found: found.update(engines=[[]]),
        lambda found: found["engines"][0].update(extra=1),
        _without_engines,
    ],
)
def test_document_of_another_form_is_an_error(change: Callable[[dict[str, Any]], None]) -> None:
    changed = document()
    change(changed)
    with pytest.raises(EngineManifestError, match="no manifest"):
        read(json.dumps(changed).encode())


@pytest.mark.parametrize("version", [0, 2, "1", True, None, 1.0])
def test_other_schema_version_is_an_error_that_names_both(version: object) -> None:
    changed = {**document(), "schema_version": version}
    with pytest.raises(EngineManifestError, match=r"schema_version .*this version reads 1"):
        read(json.dumps(changed).encode())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        "ä".encode(),
        b'{"engines":[],"schema_version":1,"schema_version":1}',
        b"[" * 100_000,
        Manifest((_ENTRY,)).canonical_bytes()[:-3],
    ],
)
def test_what_is_no_manifest_is_an_error_that_names_the_file(content: bytes) -> None:
    with pytest.raises(EngineManifestError, match=r"^manifest\.json"):
        read(content)


def test_engine_that_is_named_twice_is_an_error() -> None:
    with pytest.raises(EngineManifestError, match="twice"):
        read(Manifest((_ENTRY, _ENTRY)).canonical_bytes())
