"""The engine gate: an engine is run only when each step passes, in this order.

    schema → host → sidecar → hash → manifest (→ signature)

The first step that fails names the error; later steps are still taken where they can be, and add their reasons. The
gate only reads.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from gps_denied_inference.core.atomic_files import file_sha256, open_regular
from gps_denied_inference.core.contracts import EngineCacheEntry
from gps_denied_inference.core.engines.build_command import build_advice, options_of_build
from gps_denied_inference.core.engines.file_name import DIGEST_LENGTH, EngineFileName
from gps_denied_inference.core.engines.host import HostTuple
from gps_denied_inference.core.engines.manifest import MANIFEST_NAME, Manifest, ManifestEntry
from gps_denied_inference.core.engines.signature import verify_manifest
from gps_denied_inference.core.engines.store import SIDECAR_SUFFIX, EngineStore
from gps_denied_inference.core.errors import (
    EngineError,
    EngineHashMismatchError,
    EngineManifestError,
    EngineSchemaMismatchError,
    EngineSidecarMissingError,
)

__all__ = ["EngineGate", "GateStep", "GateVerdict"]

_SIDECAR = re.compile(r"([0-9a-f]{64})  ([^\n/]+)\n?")
_SIDECAR_LIMIT_BYTES = 1024
"""More than the longest file name and its hash take."""


@dataclass(frozen=True, slots=True)
class GateStep:
    """What a step found.

    Attributes:
        name: `schema`, `host`, `sidecar`, `hash`, `manifest` or `signature`.
        passed: False also when it could not be taken.
        reason: why it did not pass; empty when it did.
    """

    name: str
    passed: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """Whether an engine may be run.

    Attributes:
        path: the engine file.
        steps: that were taken, in order.
        error: of the first step that failed; None when it was accepted.
        entry: for the runtime; None when the file could not be read. Of a refused engine, for `allow_ungated` only.
        manifest_entry: what the manifest says of it; None when it says nothing.
    """

    path: Path
    steps: tuple[GateStep, ...]
    error: EngineError | None
    entry: EngineCacheEntry | None
    manifest_entry: ManifestEntry | None

    @property
    def is_accepted(self) -> bool:
        return self.error is None

    def require(self) -> EngineCacheEntry:
        """Return the entry of an accepted engine.

        Raises:
            EngineError: the first step's that failed.
        """
        if self.error is not None:
            raise self.error
        assert self.entry is not None
        return self.entry


class EngineGate:
    """Checks engines of a store.

    Args:
        store: whose engines.
        host: the computer that is to run them.
        require_signature: refuse a manifest that no trusted key signed.
        trusted_keys: PEM files of Ed25519 public keys.
        build_options: more arguments of the command that builds a fitting engine; those that the manifest tells of the
            one that does not fit, when None.
    """

    def __init__(
        self,
        store: EngineStore,
        host: HostTuple,
        *,
        require_signature: bool = False,
        trusted_keys: tuple[Path, ...] = (),
        build_options: Sequence[str] | None = None,
    ) -> None:
        self._store = store
        self._host = host
        self._require_signature = require_signature
        self._trusted_keys = trusted_keys
        self._build_options = build_options

    def validate(self, path: Path) -> GateVerdict:
        """Judge an engine. Never raises for what it finds: the verdict says it.

        Raises:
            RuntimeNotAvailableError: a signature is required and the package cryptography is absent.
        """
        judgement = _Judgement(path)
        name = self._read_name(judgement)
        if name is not None:
            mismatches = name.mismatches(self._host)
            judgement.note("host", self._host_error(name, mismatches) if mismatches else None)
        stated = self._read_sidecar(judgement)
        found = self._hash(judgement, stated, name)
        # Read once: what is signed and what is looked up are the same bytes, whoever writes meanwhile.
        manifest = self._read_manifest()
        manifest_entry = self._look_up(judgement, found, manifest)
        if self._require_signature:
            try:
                if isinstance(manifest, EngineManifestError):
                    raise manifest
                verify_manifest(self._store, self._trusted_keys, manifest)
            except EngineManifestError as error:
                judgement.note("signature", error)
            else:
                judgement.note("signature", None)
        entry = None if name is None or found is None else _cache_entry(path, name, found, manifest_entry)
        return GateVerdict(path, tuple(judgement.steps), judgement.error, entry, manifest_entry)

    def _host_error(self, name: EngineFileName, mismatches: Sequence[str]) -> EngineSchemaMismatchError:
        text = name.text()
        options = self._build_options
        if options is None:
            entry = self._entry(self._read_manifest(), text)
            options = options_of_build(entry.build_flags) if isinstance(entry, ManifestEntry) else ()
        advice = build_advice(name.model, name.runtime, name.precision, self._store.root, options)
        return EngineSchemaMismatchError(f"{text} does not fit this computer: {'; '.join(mismatches)}. {advice}")

    def _read_name(self, judgement: _Judgement) -> EngineFileName | None:
        path = judgement.path
        try:
            name = EngineFileName.parse(path.name)
        except EngineSchemaMismatchError as error:
            judgement.note("schema", error)
            return None
        problem: EngineError | None = None
        try:
            root = self._store.root.resolve()
            if path.parent.resolve() != root or path.resolve().parent != root:
                problem = EngineSchemaMismatchError(
                    f"{path} lies outside the engine store {self._store.root}; engines are run from the store alone: "
                    "build it there"
                )
            elif _is_no_regular_file(path):
                problem = EngineSchemaMismatchError(
                    f"{path} is a folder, pipe or device, not an engine file; remove it and build the engine"
                )
        except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: links in a circle, before Python 3.13
            problem = EngineSchemaMismatchError(f"{path} leads to no file ({error}); remove it and build the engine")
        judgement.note("schema", problem)
        return name

    def _read_sidecar(self, judgement: _Judgement) -> str | None:
        path = judgement.path
        sidecar = path.with_name(path.name + SIDECAR_SUFFIX)
        try:
            with open_regular(sidecar) as file:
                text = file.read(_SIDECAR_LIMIT_BYTES).decode("ascii", errors="replace")
        except OSError as error:
            judgement.note(
                "sidecar",
                EngineSidecarMissingError(
                    f"{sidecar} cannot be read ({error.strerror}), so nothing says what {path.name} should be; build "
                    "the engine again"
                ),
            )
            return None
        match = _SIDECAR.fullmatch(text)
        if match is None or match.group(2) != path.name:
            judgement.note("sidecar", None)
            judgement.note(
                "hash",
                EngineHashMismatchError(
                    f"{sidecar} does not state the SHA-256 of {path.name} ('{text[:80].strip()}'); build the engine "
                    "again"
                ),
            )
            return None
        judgement.note("sidecar", None)
        return match.group(1)

    def _hash(self, judgement: _Judgement, stated: str | None, name: EngineFileName | None) -> str | None:
        """Compare the file with its sidecar and its name; returns its SHA-256 where it could be read."""
        path = judgement.path
        try:
            found = file_sha256(path)
        except OSError as error:
            if not judgement.has("hash"):
                judgement.note(
                    "hash",
                    EngineHashMismatchError(f"{path} cannot be read ({error.strerror}); build the engine again"),
                )
            return None
        if judgement.has("hash"):
            return found
        problem: EngineError | None = None
        if stated is not None and found != stated:
            problem = EngineHashMismatchError(
                f"{path.name} has SHA-256 {found}, its sidecar says {stated}; the file was changed or is incomplete: "
                "build the engine again"
            )
        elif name is not None and found[:DIGEST_LENGTH] != name.digest:
            problem = EngineHashMismatchError(
                f"{path.name} has SHA-256 {found}, its name says {name.digest}...; the file was changed or renamed: "
                "build the engine again"
            )
        elif stated is None:
            judgement.note_skipped("hash", "there is no sidecar to compare with")
            return found
        judgement.note("hash", problem)
        return found

    def _read_manifest(self) -> bytes | EngineManifestError:
        try:
            return self._store.manifest_bytes()
        except EngineManifestError as error:
            return error

    def _entry(
        self, manifest: bytes | EngineManifestError, file_name: str
    ) -> ManifestEntry | EngineManifestError | None:
        if isinstance(manifest, EngineManifestError):
            return manifest
        try:
            return Manifest.from_bytes(manifest, str(self._store.root / MANIFEST_NAME)).entry(file_name)
        except EngineManifestError as error:
            return error

    def _look_up(
        self, judgement: _Judgement, found: str | None, manifest: bytes | EngineManifestError
    ) -> ManifestEntry | None:
        path = judgement.path
        entry = self._entry(manifest, path.name)
        if isinstance(entry, EngineManifestError):
            judgement.note("manifest", entry)
            return None
        problem = self._manifest_problem(path, entry, found)
        judgement.note("manifest", None if problem is None else EngineManifestError(problem))
        return entry

    def _manifest_problem(self, path: Path, entry: ManifestEntry | None, found: str | None) -> str | None:
        if entry is None:
            return f"the manifest of {self._store.root} has no entry for {path.name}; build the engine again"
        if found is not None and entry.sha256 != found:
            return (
                f"the manifest says {path.name} has SHA-256 {entry.sha256}, it has {found}; build the engine again, or "
                "restore the manifest that belongs to it"
            )
        size_bytes = _size_bytes(path)
        if size_bytes is not None and entry.size_bytes != size_bytes:
            return (
                f"the manifest says {path.name} has {entry.size_bytes} bytes, it has {size_bytes}; build the engine "
                "again, or restore the manifest that belongs to it"
            )
        for name, expected in entry.artefacts.items():
            artefact = self._store.artefact_path(name)
            try:
                actual = file_sha256(artefact)
            except OSError as error:
                return (
                    f"{name}, which belongs to {path.name}, cannot be read ({error.strerror}); build the engine again"
                )
            if actual != expected:
                return f"{name}, which belongs to {path.name}, was changed since the build; build the engine again"
        try:
            parts = EngineFileName.parse(path.name)
        except EngineSchemaMismatchError:
            return None
        if (entry.model, entry.runtime, entry.precision) != (parts.model, parts.runtime, parts.precision):
            return f"the manifest and the name of {path.name} disagree on what it is; build the engine again"
        return None


def _is_no_regular_file(path: Path) -> bool:
    """Raises OSError for links that lead in a circle, which `resolve` lets pass since Python 3.13."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return False  # the step `hash` tells of it


def _size_bytes(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None  # that it cannot be read was said before


class _Judgement:
    """Steps as they are taken."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.steps: list[GateStep] = []
        self.error: EngineError | None = None

    def note(self, name: str, error: EngineError | None) -> None:
        self.steps.append(GateStep(name, error is None, "" if error is None else str(error)))
        if self.error is None:
            self.error = error

    def note_skipped(self, name: str, reason: str) -> None:
        self.steps.append(GateStep(name, False, reason))

    def has(self, name: str) -> bool:
        return any(step.name == name for step in self.steps)


def _cache_entry(
    path: Path, name: EngineFileName, sha256: str, manifest_entry: ManifestEntry | None
) -> EngineCacheEntry:
    extras: Mapping[str, str] = {"model_name": name.model, "runtime": name.runtime.value}
    if manifest_entry is not None:
        extras = {**manifest_entry.build_flags, **extras, "weights_sha256": manifest_entry.weights_sha256}
    return EngineCacheEntry(
        path=path,
        sha256=sha256,
        precision=name.precision,
        sm=",".join(name.sms),
        jetpack=name.platform.removeprefix("jp") if name.platform.startswith("jp") else "",
        tensorrt=name.toolchain if name.toolchain.startswith(("trt", "rtx", "ortep")) else "",
        extras=MappingProxyType(dict(extras)),
    )
