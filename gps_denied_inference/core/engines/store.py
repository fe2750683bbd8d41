"""A folder of engines: content-hashed files, a sidecar beside each, one manifest that names them all.

    manifest.json                  what is there, written last: an engine counts only when it stands here
    manifest.json.sig              signature of the manifest, where it was signed
    NAME.engine                    the engine; its name carries the first digits of its SHA-256
    NAME.engine.sha256             sidecar, as `sha256sum` writes it
    NAME.golden.npz, .sha256       golden outputs
    .lock                          held by the writer

A writer that is killed at any point leaves the manifest of before or of after; files that no manifest names are left by
it and removed by `prune`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from types import MappingProxyType

from gps_denied_inference.core.contracts import PrecisionMode, RuntimeLabel
from gps_denied_inference.core.engines.atomic_files import (
    TEMPORARY_PREFIX,
    file_sha256,
    remove_temporaries,
    write_atomically,
)
from gps_denied_inference.core.engines.file_name import DIGEST_LENGTH, EngineFileName
from gps_denied_inference.core.engines.host import HostTuple
from gps_denied_inference.core.engines.manifest import MANIFEST_NAME, Manifest, ManifestEntry
from gps_denied_inference.core.errors import EngineBuildError, EngineManifestError

__all__ = ["GOLDEN_SUFFIX", "SIDECAR_SUFFIX", "SIGNATURE_NAME", "EngineStore"]

SIDECAR_SUFFIX = ".sha256"
SIGNATURE_NAME = f"{MANIFEST_NAME}.sig"
GOLDEN_SUFFIX = ".golden.npz"
"""Of the artefact that holds the golden images and outputs."""

_LOCK_NAME = ".lock"


class EngineStore:
    """Reads and writes a store. Two processes may write at once: one waits for the other.

    Args:
        root: its folder; made by the first `add`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def manifest(self) -> Manifest:
        """Read what is there.

        Raises:
            EngineManifestError: there is no manifest, or it is unreadable or malformed.
        """
        path = self.root / MANIFEST_NAME
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise EngineManifestError(
                f"{self.root} holds no {MANIFEST_NAME}, so it is no engine store; make one with "
                f"'gdi engine build MODEL --runtime LABEL --store {self.root}'"
            ) from error
        except OSError as error:
            raise EngineManifestError(
                f"cannot read {path} ({error.strerror}); give its owner's rights to this user"
            ) from error
        return Manifest.from_bytes(content, str(path))

    def add(
        self,
        content: Path | bytes,
        *,
        name: EngineFileName,
        details: ManifestEntry,
        artefacts: Mapping[str, bytes] = MappingProxyType({}),
    ) -> ManifestEntry:
        """Put an engine into the store. It is there when this returns; before, the store is as it was.

        An engine of the same bytes takes the place of its entry.

        Args:
            content: the engine's bytes, or a file to be copied.
            name: its parts; the digest is filled in.
            details: what is known of it; file name, hash, size and artefacts are filled in.
            artefacts: other files that belong to it, suffix → content, e.g. `.golden.npz`.

        Raises:
            EngineBuildError: the disk is full, or the folder cannot be written.
            EngineManifestError: the store's manifest is malformed.
        """
        with self._writing():
            before = self.manifest() if (self.root / MANIFEST_NAME).exists() else Manifest()
            try:
                sha256 = file_sha256(content) if isinstance(content, Path) else _bytes_sha256(content)
                size = content.stat().st_size if isinstance(content, Path) else len(content)
            except OSError as error:
                raise EngineBuildError(f"cannot read the new engine {content!r} ({error.strerror})") from error
            file_name = replace(name, digest=sha256[:DIGEST_LENGTH]).text()
            stem = file_name.removesuffix(PurePath(file_name).suffix)
            hashes = {}
            for suffix, data in artefacts.items():
                hashes[stem + suffix] = self._write_with_sidecar(stem + suffix, data)
            written = self._write_with_sidecar(file_name, content)
            if written != sha256:
                raise EngineBuildError(
                    f"{content!r} changed while it was copied into the store; build the engine again"
                )
            entry = replace(
                details, file_name=file_name, sha256=sha256, size_bytes=size, artefacts=MappingProxyType(hashes)
            )
            kept = tuple(item for item in before.entries if item.file_name != file_name)
            self._write_manifest(Manifest((*kept, entry)))
        return entry

    def find(self, *, model: str, runtime: RuntimeLabel, precision: PrecisionMode, host: HostTuple) -> ManifestEntry:
        """Return the newest engine that fits a computer.

        Raises:
            EngineManifestError: there is none; lists what is there and why it does not fit, and the command to run.
        """
        reasons = []
        for entry in reversed(self.manifest().entries):
            if (entry.model, entry.runtime) != (model, runtime):
                continue
            if entry.precision is not precision:
                reasons.append(f"{entry.file_name}: its precision is {entry.precision.value}")
                continue
            problems = EngineFileName.parse(entry.file_name).mismatches(host)
            if not problems:
                return entry
            reasons.append(f"{entry.file_name}: {', '.join(problems)}")
        found = "; ".join(reasons) or "it has none of this model and runtime"
        raise EngineManifestError(
            f"{self.root} has no engine for '{model}' on '{runtime.value}' in {precision.value} that this computer "
            "can run "
            f"({found}). Build one: gdi engine build {model} --runtime {runtime.value} --precision {precision.value} "
            f"--store {self.root}"
        )

    def path_of(self, entry: ManifestEntry) -> Path:
        """Return where an engine lies."""
        return self.root / entry.file_name

    def artefact_path(self, name: str) -> Path:
        """Return where an artefact lies."""
        return self.root / name

    def golden_of(self, entry: ManifestEntry) -> tuple[Path, str] | None:
        """Return path and SHA-256 of an engine's golden outputs; None when it has none."""
        name = entry.file_name.removesuffix(PurePath(entry.file_name).suffix) + GOLDEN_SUFFIX
        sha256 = entry.artefacts.get(name)
        return None if sha256 is None else (self.root / name, sha256)

    def strangers(self) -> tuple[str, ...]:
        """Names of files that the manifest does not know."""
        known = {MANIFEST_NAME, SIGNATURE_NAME, _LOCK_NAME}
        for entry in self.manifest().entries:
            for name in (entry.file_name, *entry.artefacts):
                known |= {name, name + SIDECAR_SUFFIX}
        names = (path.name for path in self.root.iterdir())
        return tuple(sorted(name for name in names if name not in known and not name.startswith(TEMPORARY_PREFIX)))

    def remove(self, entry: ManifestEntry) -> None:
        """Take an engine out: of the manifest first, then its files.

        Raises:
            EngineBuildError: the folder cannot be written.
            EngineManifestError: the manifest is malformed.
        """
        with self._writing():
            kept = tuple(item for item in self.manifest().entries if item.file_name != entry.file_name)
            self._write_manifest(Manifest(kept))
            self._delete((entry,), kept)

    def prune(self, keep: int) -> tuple[ManifestEntry, ...]:
        """Keep the newest engines of each model, runtime, precision and target; return those that were removed.

        Files that no manifest names go too.

        Args:
            keep: how many of each, at least 1.

        Raises:
            EngineBuildError: `keep` is below 1, or the folder cannot be written.
            EngineManifestError: the manifest is missing or malformed.
        """
        if keep < 1:
            raise EngineBuildError(f"{keep} engines of each kind cannot be kept; keep at least 1")
        with self._writing():
            counts: dict[tuple[object, ...], int] = {}
            kept: list[ManifestEntry] = []
            removed: list[ManifestEntry] = []
            for entry in reversed(self.manifest().entries):
                name = EngineFileName.parse(entry.file_name)
                kind = (name.model, name.runtime, name.precision, name.sms, name.platform, name.toolchain)
                counts[kind] = counts.get(kind, 0) + 1
                (kept if counts[kind] <= keep else removed).append(entry)
            if removed:
                self._write_manifest(Manifest(tuple(reversed(kept))))
                self._delete(tuple(removed), tuple(kept))
            for stranger in self.strangers():
                with contextlib.suppress(OSError):
                    (self.root / stranger).unlink()
        return tuple(removed)

    def _write_with_sidecar(self, name: str, content: bytes | Path) -> str:
        sha256 = write_atomically(self.root / name, content)
        write_atomically(self.root / (name + SIDECAR_SUFFIX), f"{sha256}  {name}\n".encode("ascii"))
        return sha256

    def _write_manifest(self, manifest: Manifest) -> None:
        write_atomically(self.root / MANIFEST_NAME, manifest.canonical_bytes())

    def _delete(self, entries: tuple[ManifestEntry, ...], kept: tuple[ManifestEntry, ...]) -> None:
        needed = {name for entry in kept for name in (entry.file_name, *entry.artefacts)}
        for entry in entries:
            for name in {entry.file_name, *entry.artefacts} - needed:
                for path in (self.root / name, self.root / (name + SIDECAR_SUFFIX)):
                    with contextlib.suppress(OSError):
                        path.unlink()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Be the only writer; the lock goes with the process."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = (self.root / _LOCK_NAME).open("ab")
        except OSError as error:
            raise EngineBuildError(
                f"cannot write into the engine store {self.root} ({error.strerror}); give a folder that can be written"
            ) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            remove_temporaries(self.root)
            yield


def _bytes_sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
