"""The manifest of a store: every engine, with the hashes of all that belongs to it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath, PurePosixPath
from types import MappingProxyType
from typing import Any

from gps_denied_inference.core.contracts import OptimizationProfile, PrecisionMode, RuntimeLabel
from gps_denied_inference.core.engines.file_name import EngineFileName
from gps_denied_inference.core.errors import EngineManifestError, EngineSchemaMismatchError

__all__ = ["MANIFEST_NAME", "Manifest", "ManifestEntry"]

MANIFEST_NAME = "manifest.json"
_SCHEMA_VERSION = 1
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TEXTS = (
    "file_name",
    "sha256",
    "model",
    "weights_sha256",
    "preprocess_sha256",
    "source_onnx_sha256",
    "license",
    "built_at",
    "package_version",
)


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """What is known of an engine.

    Attributes:
        file_name: in the store.
        sha256, size_bytes: of the engine file.
        model: name of the architecture.
        runtime: that runs it.
        precision: of its arithmetic.
        weights_sha256: of the checkpoint that it was made of; part of `space_id`.
        preprocess_sha256: of the architecture's preprocessing when it was built.
        source_onnx_sha256: of the ONNX file that it was compiled from; empty when there was none.
        license: SPDX identifier of the weights.
        built_at: ISO 8601, UTC.
        package_version: of gps_denied_inference that built it.
        profiles: shapes that it accepts, of inputs with variable shapes.
        build_flags: what else it was built with.
        artefacts: other files of the engine in the store, name → SHA-256.
        memory_bytes: estimate of what it needs on the device; 0 when not known.
    """

    file_name: str
    sha256: str
    size_bytes: int
    model: str
    runtime: RuntimeLabel
    precision: PrecisionMode
    weights_sha256: str
    preprocess_sha256: str
    source_onnx_sha256: str = ""
    license: str = ""
    built_at: str = ""
    package_version: str = ""
    profiles: tuple[OptimizationProfile, ...] = ()
    build_flags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    artefacts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """Engines of a store, oldest first."""

    entries: tuple[ManifestEntry, ...] = ()

    def entry(self, file_name: str) -> ManifestEntry | None:
        """Return the entry of a file; None when there is none."""
        return next((entry for entry in self.entries if entry.file_name == file_name), None)

    def canonical_bytes(self) -> bytes:
        """Return the JSON whose bytes are signed: sorted keys, no spaces but line ends, ASCII."""
        document = {
            "schema_version": _SCHEMA_VERSION,
            "engines": [_document_from_entry(entry) for entry in self.entries],
        }
        return (json.dumps(document, sort_keys=True, indent=1, separators=(",", ":"), allow_nan=False) + "\n").encode(
            "ascii"
        )

    @classmethod
    def from_bytes(cls, content: bytes, where: str) -> Manifest:
        """Read a manifest.

        Args:
            content: of the file.
            where: its path, for the error.

        Raises:
            EngineManifestError: it is no manifest of this version.
        """
        try:
            document = json.loads(content.decode("ascii"), object_pairs_hook=_without_repetition)
            version = document["schema_version"]
            if version != _SCHEMA_VERSION or not isinstance(version, int) or isinstance(version, bool):
                raise EngineManifestError(
                    f"{where} has schema_version {version!r}, this version reads {_SCHEMA_VERSION}; build the engines "
                    "again, or install the version that wrote it"
                )
            if set(document) != {"schema_version", "engines"}:
                raise ValueError(f"its keys are {sorted(document)}")
            entries = tuple(_entry_from_document(item) for item in _list(document["engines"]))
        except EngineManifestError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, EngineSchemaMismatchError) as error:
            raise EngineManifestError(
                f"{where} is no manifest of an engine store ({type(error).__name__}: {error}); restore it from a "
                "backup, or build the engines again"
            ) from error
        names = [entry.file_name for entry in entries]
        if len(set(names)) != len(names):
            raise EngineManifestError(f"{where} names an engine twice; build the engines again")
        return cls(entries)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(f"a key is repeated among {[key for key, _ in pairs]}")
    return found


def _document_from_entry(entry: ManifestEntry) -> dict[str, Any]:
    return {
        **{name: getattr(entry, name) for name in _TEXTS},
        "size_bytes": entry.size_bytes,
        "memory_bytes": entry.memory_bytes,
        "runtime": entry.runtime.value,
        "precision": entry.precision.value,
        "profiles": [
            {
                "input_name": profile.input_name,
                "min_shape": list(profile.min_shape),
                "opt_shape": list(profile.opt_shape),
                "max_shape": list(profile.max_shape),
            }
            for profile in entry.profiles
        ],
        "build_flags": dict(entry.build_flags),
        "artefacts": dict(entry.artefacts),
    }


def _entry_from_document(document: dict[str, Any]) -> ManifestEntry:
    expected = {*_TEXTS, "size_bytes", "memory_bytes", "runtime", "precision", "profiles", "build_flags", "artefacts"}
    if set(document) != expected:
        raise ValueError(f"an entry's keys differ from the expected ones by {sorted(set(document) ^ expected)}")
    texts = {name: document[name] for name in _TEXTS}
    for name, value in texts.items():
        if not isinstance(value, str):
            raise TypeError(f"{name} is {value!r}, not a string")
    EngineFileName.parse(texts["file_name"])
    artefacts = _text_mapping(document["artefacts"])
    _require_hashes(texts, artefacts)
    stem = texts["file_name"].removesuffix(PurePath(texts["file_name"]).suffix)
    for name in artefacts:
        # They are hashed and deleted by these names: none may lead out of the store, or to what is another's.
        is_own = name.startswith(stem) and not name.endswith(".sha256") and name != texts["file_name"]
        if "\0" in name or PurePosixPath(name).name != name or not is_own:
            raise ValueError(f"the artefact '{name}' of {texts['file_name']} is no file name that begins with its stem")
    return ManifestEntry(
        **texts,
        size_bytes=_natural(document["size_bytes"]),
        memory_bytes=_natural(document["memory_bytes"]),
        runtime=RuntimeLabel(document["runtime"]),
        precision=PrecisionMode(document["precision"]),
        profiles=tuple(_profile_from_document(item) for item in _list(document["profiles"])),
        build_flags=_text_mapping(document["build_flags"]),
        artefacts=artefacts,
    )


def _profile_from_document(document: dict[str, Any]) -> OptimizationProfile:
    shapes = ("min_shape", "opt_shape", "max_shape")
    if set(document) != {"input_name", *shapes} or not isinstance(document["input_name"], str):
        raise ValueError(f"{document!r} is no profile")
    smallest, usual, largest = (tuple(_natural(size) for size in _list(document[name])) for name in shapes)
    return OptimizationProfile(document["input_name"], smallest, usual, largest)


def _require_hashes(texts: Mapping[str, str], artefacts: Mapping[str, str]) -> None:
    hashes = {name: texts[name] for name in ("sha256", "weights_sha256", "preprocess_sha256")}
    if texts["source_onnx_sha256"]:
        hashes["source_onnx_sha256"] = texts["source_onnx_sha256"]
    for name, value in (*hashes.items(), *artefacts.items()):
        if not _SHA256.fullmatch(value):
            raise ValueError(f"{name} is {value!r}, not a SHA-256 in lower-case hex")


def _natural(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is not a whole number of at least 0")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is not a list")
    return value


def _text_mapping(value: dict[str, Any]) -> Mapping[str, str]:
    if not all(isinstance(item, str) for item in value.values()):
        raise TypeError(f"{value!r} maps to something else than strings")
    return MappingProxyType(dict(value))
